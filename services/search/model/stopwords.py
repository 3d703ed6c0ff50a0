"""Words that hold a sentence together and say nothing of what it is about, as `analysis.words` reads them.

Only queries leave them out, and only where something else is asked: they stay in the index, for phrases and for "The
Who". On Cranfield (`make bench-search`) this gains 0.01 of nDCG@10, and head words are what takes the time. For a
language that is not listed, idf alone tells.
"""

from collections.abc import Collection

_LISTS = {
    "da": """
        af alle alt anden at blev blive bliver da de dem den denne der deres det dette dig din dine disse dit dog du
        efter eller en end er et for fra ham han hans har havde have hende hendes her hos hun hvad hvem hver hvilken
        hvis hvor hvordan hvorfor hvornår i ikke ind ingen jeg jer jo kan kunne man mange med meget men mig min mine mit
        mod ned noget nogle nu når og også om op os over på selv sig sin sine sit skal skulle som sådan thi til ud under
        var vi vil ville være været
    """,
    "de": """
        aber alle allem allen aller alles als also am an auch auf aus bei beim bin bis bist da damit dann das dass dein
        deine deinem deinen deiner dem den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du
        durch ein eine einem einen einer eines er es etwas euch euer eure für gegen hab habe haben hat hatte hatten hier
        hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in indem ins ist ja jede jedem jeden jeder jedes jene
        kann kein keine keinem keinen keiner können man mein meine meinem meinen meiner mich mir mit muss nach nicht
        nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner sich sie sind so solche soll sollte
        sondern um und uns unser unsere unter viel vom von vor wann war waren warum was weil welche welchem welchen
        welcher welches wenn wer werde werden wie wieder will wir wird wirst wo wollen worden wurde wurden während würde
        zu zum zur zwar zwischen über
    """,
    "en": """
        a about above after again against all also am an and any are aren as at be because been before being below
        between both but by can could couldn did didn do does doesn doing don down during each either few for from
        further had hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it
        its itself just me more most must my myself neither no nor not now of off on once only or other our ours
        ourselves out over per same shall shan she should shouldn so some such than that the their theirs them
        themselves then there these they this those through to too under until up upon very was wasn we were weren what
        when where whether which while who whom whose why will with within without would wouldn you your yours yourself
        yourselves
    """,
    "es": """
        a al algo algunas algunos ante antes aquel aquella como con contra cual cuando cuál cuáles cuándo cómo de del
        desde donde dos durante dónde e el ella ellas ellos en entre era eran es esa esas ese eso esos esta estar estas
        este esto estos está están fue fueron ha hace han hasta hay he la las le les lo los mas me mi mis mucho muchos
        muy más nada ni no nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por porque que quien
        quién qué se sea según ser si sido sin sobre son su sus sí también tanto te tiene tienen toda todas todo todos
        tu tus un una unas uno unos usted vosotros y ya yo él
    """,
    "fr": """
        a ai alors as au aucun aussi autre aux avait avec avez avons c ce ceci cela celle celles celui ces cet cette
        ceux chaque ci comme comment d dans de depuis des donc dont du elle elles en encore entre est et eu eux faire
        fait furent fut il ils j je l la laquelle le lequel les lesquels leur leurs lors lui là m ma mais me mes moi mon
        même n ne ni non nos notre nous on ont ou où par parce pas pendant peu peut plus pour pourquoi qu quand que quel
        quelle quelles quels qui quoi s sa sans se selon sera ses si son sont sous sur t ta te tes toi ton tous tout
        toute toutes très tu un une vers vos votre vous y à étaient était être
    """,
    "it": """
        a ad agli ai al alla alle allo anche c che chi ci come con contro cui d da dagli dai dal dalla dalle dallo degli
        dei del dell della delle dello di dov dove e ed era erano essere fra gli ha hai hanno ho i il in io l la le lei
        li lo loro lui ma me mi mia mio molto ne negli nei nel nella nelle nello noi non nostra nostro o ogni per perchè
        perché più poi qual quale quali quando quanto quella quelle quelli quello questa queste questi questo se sei si
        sia sono sta stata stato su sua sue sugli sui sul sulla sulle suo suoi ti tra tu tua tuo tutti tutto un una uno
        vi voi è
    """,
    "nl": """
        aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een en er ge geen had
        heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij
        mijn moet na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van
        veel voor waar waarom wanneer want waren was wat welke werd wezen wie wij wil worden wordt zal ze zelf zich zij
        zijn zo zonder zou
    """,
    "no": """
        alle at av bare ble blei bli blir da de deg dei den der dere deres det dette di din disse du eller en enn er et
        etter for fordi fra før ha hadde han hans har hele henne hennes her hos hun hva hvem hver hvilke hvilken hvis
        hvor hvordan hvorfor i ikke ikkje ingen inn jeg kan kom kunne man mange med meg mellom men mer mi min mot mye
        ned noe noen nå når og også om opp oss over på sa samme seg selv sin sine sitt skal skulle slik som så til um
        under ut var ved vi vil ville vår være vært å
    """,
    "pl": """
        a aby albo ale ani bardzo bez bo by być był była było były ci co czy dla do gdy gdzie go i ich ile im inne ja
        jak jako je jego jej jest jeszcze jeśli już każdy kiedy kto która które którego której który których którym
        którzy lub ma mają mi mnie można mu my na nad nam nas nasz nic nich nie nim niż o od on ona one oni ono oraz po
        pod ponieważ przed przez przy się skąd sobie swoje są ta tak także tam te tego tej ten to tu ty tych tylko tym w
        we więc wszystko z za ze że żeby
    """,
    "pt": """
        a ao aos aquela aquele aquilo as até com como da das de dela dele deles depois do dos e ela elas ele eles em
        entre era eram essa essas esse esses esta estas este estes está estão eu foi foram há isso isto já lhe mais mas
        me mesmo meu minha muito na nas nem no nos nossa nosso não nós o onde os ou para pela pelas pelo pelos por
        porque porquê quais qual quando que quem quê se seja sem ser será seu seus sobre sua suas são só também te tem
        teu toda todas todo todos tu tua têm um uma umas uns você vocês à às é
    """,
    "ru": """
        а без более бы был была были было быть в вам вас весь во вот все всего всех всё вы где да для до его ее если
        есть еще ещё её же за здесь и из или им их к как какая какие какой когда кто ли либо мне может мой мы на над
        надо наш не него нее нет ни них но ну о об однако он она они оно от очень по под при про с сам свой себя со так
        также такой там тебя тем то того тоже той только том тот ту ты у уже хотя чего чей чем что чтобы чье чём эта эти
        это этого этой этом этот я
    """,
    "sv": """
        alla allt att av blev bli blir de dem den denna deras dess dessa det detta dig din dina ditt du där då efter ej
        eller en er era ett från för ha hade han hans har henne hennes hon honom hur här i icke ingen inom inte jag ju
        kan kunde man med mellan men mig min mina mitt mot mycket ni nu när någon något några och om oss på samma sedan
        sig sin sina sitt sitta själv ska skall skulle som så sådan till under upp ut utan vad var vara varför varit
        varje vars vart vem vi vid vilka vilken vilket vår våra vårt än är åt över
    """,
}

STOPWORDS = {language: frozenset(words.split()) for language, words in _LISTS.items()}
STOPWORDS["nn"] = STOPWORDS["no"]


def stopwords_of(asked: Collection[str], languages: Collection[str]) -> frozenset[str]:
    """Those among the words of a query, in a workspace with these languages.

    The query is in the language that has most of its words for stop words; where several have, which of them it is in
    cannot be told, and only what they agree on is left out: "war crimes in the north" are not German.
    """
    found = [STOPWORDS[language].intersection(asked) for language in languages if language in STOPWORDS]
    most = max(map(len, found), default=0)
    return frozenset.intersection(*(words for words in found if len(words) == most)) if most else frozenset()
