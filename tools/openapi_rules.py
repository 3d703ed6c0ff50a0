"""protovalidate rules as JSON Schema keywords.

What JSON Schema cannot say (CEL, rules across fields) is told in the description by the rule's own message. Rules of
ours that are one regular expression are said like `string.pattern`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from tools.contract import Contract, Options, extension, parse_options
from tools.envoy_routes import Json

FIELD_RULES = "buf.validate.field"
MESSAGE_RULES = "buf.validate.message"
_PREDEFINED = "buf.validate.predefined"
# How a rule of ours, in plinth/options/v1/text.proto, states the one regular expression that it is.
_MATCHES = re.compile(r"!rule \|\| this\.matches\(r'([^']*)'\)")
_IGNORE_IF_ZERO, _IGNORE_ALWAYS = 1, 3

# Rules whose names differ only in form between protovalidate and JSON Schema.
_STRING = {"min_len": "minLength", "max_len": "maxLength"}
# RE2's names for sets of characters, which neither ECMA-262 nor Python's re has, as ranges within brackets.
_CLASSES = {
    r"\p{Cc}": r"\x00-\x1f\x7f-\x9f",
    r"\p{Zl}": r"\u2028",
    r"\p{Zp}": r"\u2029",
    r"\p{Zs}": r" \xa0\u1680\u2000-\u200a\u202f\u205f\u3000",
    r"\p{Z}": r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
_CODE_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{1,4})\}")
_FORMATS = {
    "email": "email",
    "uuid": "uuid",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
}
_REPEATED = {"min_items": "minItems", "max_items": "maxItems"}
_MAP = {"min_pairs": "minProperties", "max_pairs": "maxProperties"}
_NUMBER = {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_NUMBER_KINDS = frozenset(
    ["int32", "uint32", "sint32", "fixed32", "sfixed32", "float", "double"],
)


def field_options(field: FieldDescriptor, contract: Contract) -> Options:
    """The options of a field, with their extensions readable."""
    return parse_options(contract.pool, "FieldOptions", field.GetOptions().SerializeToString())


def rules(field: FieldDescriptor, contract: Contract) -> Options | None:
    """The `buf.validate.field` of a field, unless it is absent or switched off."""
    found = extension(contract.pool, field_options(field, contract), FIELD_RULES)
    return None if found is None or found.ignore == _IGNORE_ALWAYS else found


def portable(pattern: str) -> str:
    """A pattern of RE2 in the syntax that ECMA-262 and Python share; empty when it cannot be said there."""
    for name, ranges in _CLASSES.items():
        pattern = pattern.replace(name, ranges)
    pattern = _CODE_POINT.sub(lambda match: rf"\u{int(match[1], 16):04x}", pattern)
    try:
        re.compile(pattern)
    except re.error:
        return ""
    return pattern


def keywords(found: Options | None) -> Json:
    """The JSON Schema keywords of a field's rules, to be merged into the schema of its type."""
    if found is None:
        return {}
    kind = found.WhichOneof("type")
    made = _by_kind(kind, getattr(found, kind)) if kind else {}
    zero = _zero(kind)
    # An absent field is printed as its zero in answers, and passes in requests, though the rule alone would refuse it.
    if found.ignore == _IGNORE_IF_ZERO and zero is not None and made:
        return {"anyOf": [{"const": zero}, made]}
    return made


def refuses_absence(found: Options | None) -> bool:
    """Whether a request without the field fails validation."""
    if found is None or found.ignore == _IGNORE_IF_ZERO:
        return False
    if found.required:
        return True
    kind = found.WhichOneof("type")
    if kind == "string":
        return _refuses_empty(found.string)
    if kind == "repeated":
        return bool(found.repeated.min_items)
    if kind == "enum":
        return 0 in found.enum.not_in
    return False


def rule_sentences(found: Options | None) -> list[str]:
    """What the CEL rules of a field or message say."""
    return [] if found is None else _sentences(found.cel)


def text_rule_sentences(found: Options | None) -> list[str]:
    """What our own rules of a text, of the texts of a list or of a map's keys and values say that a pattern cannot."""
    if found is None:
        return []
    texts = {
        "string": [found.string],
        "repeated": [found.repeated.items.string],
        "map": [found.map.keys.string, found.map.values.string],
    }.get(found.WhichOneof("type"), [])
    return _sentences(rule for text in texts for rule in _predefined(text) if not _pattern_of(rule))


def message_rules(options: Options, contract: Contract) -> Options | None:
    """The `buf.validate.message` among the options of a message."""
    return extension(contract.pool, options, MESSAGE_RULES)


def _refuses_empty(rule: Options) -> bool:
    format_set = any(rule.HasField(name) and getattr(rule, name) for name in ("email", "uuid"))
    refused = any(not re.search(pattern, "") for pattern in _patterns(rule))
    return bool(rule.min_len or rule.len or format_set or refused)


def _patterns(rule: Options) -> list[str]:
    """What a text has to match: the rule's own pattern, and those of rules of ours."""
    return list(filter(None, [portable(rule.pattern), *map(_pattern_of, _predefined(rule))]))


def _sentences(rules_of_cel: Iterable[Options]) -> list[str]:
    return [rule.message or rule.id for rule in rules_of_cel if rule.message or rule.id]


def _predefined(rule: Options) -> list[Options]:
    """The CEL rules behind our extensions that are set in a rule."""
    found: list[Options] = []
    for field, value in rule.ListFields():
        options = parse_options(field.file.pool, "FieldOptions", field.GetOptions().SerializeToString())
        predefined = extension(field.file.pool, options, _PREDEFINED) if field.is_extension and value else None
        found += predefined.cel if predefined is not None else ()
    return found


def _pattern_of(rule: Options) -> str:
    match = _MATCHES.fullmatch(rule.expression)
    return portable(match[1]) if match else ""


def _zero(kind: str | None) -> Any:
    """How the zero of a kind looks in JSON; None for kinds that have no zero to be sent."""
    if kind in ("string", "bytes"):
        return ""
    return 0 if kind in _NUMBER_KINDS else None


def _by_kind(kind: str, rule: Options) -> Json:
    if kind == "string":
        return _string(rule)
    if kind == "repeated":
        return _repeated(rule)
    if kind == "map":
        return _map(rule)
    if kind == "bytes":
        # In base64: four characters for three bytes, and for what is left.
        return {"maxLength": -(-rule.max_len // 3) * 4} if rule.HasField("max_len") else {}
    if kind == "enum":
        return {}
    if kind == "field_mask":
        allowed = list(getattr(rule, "in"))
        one = "|".join(re.escape(_camel_path(path)) for path in allowed)
        return {"pattern": f"^(({one})(,({one}))*)?$"} if allowed else {}
    return _translated(rule, _NUMBER) if kind in _NUMBER_KINDS else {}


def _string(rule: Options) -> Json:
    made = _translated(rule, _STRING)
    if patterns := _patterns(rule):
        made["pattern"] = patterns[0]
        if others := patterns[1:]:
            made["allOf"] = [{"pattern": pattern} for pattern in others]
    if rule.HasField("len"):
        made |= {"minLength": rule.len, "maxLength": rule.len}
    if formats := [value for name, value in _FORMATS.items() if rule.HasField(name) and getattr(rule, name)]:
        made["format"] = formats[0]
    if rule.HasField("const"):
        made["const"] = rule.const
    if allowed := list(getattr(rule, "in")):
        made["enum"] = allowed
    return made


def _repeated(rule: Options) -> Json:
    made = _translated(rule, _REPEATED)
    if rule.unique:
        made["uniqueItems"] = True
    if rule.HasField("items") and (items := keywords(rule.items)):
        made["items"] = items
    return made


def _map(rule: Options) -> Json:
    made = _translated(rule, _MAP)
    if rule.HasField("keys") and (keys := keywords(rule.keys)):
        made["propertyNames"] = keys
    if rule.HasField("values") and (values := keywords(rule.values)):
        made["additionalProperties"] = values
    return made


def _translated(rule: Options, names: dict[str, str]) -> Json:
    return {keyword: getattr(rule, name) for name, keyword in names.items() if rule.HasField(name)}


def _camel_path(path: str) -> str:
    """A path of a field mask as protojson writes it."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), path)
