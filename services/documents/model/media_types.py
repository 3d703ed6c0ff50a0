"""The media types that are told apart (IANA's names)."""

_OFFICE = "application/vnd.openxmlformats-officedocument"

PDF = "application/pdf"
DOCX = f"{_OFFICE}.wordprocessingml.document"
PPTX = f"{_OFFICE}.presentationml.presentation"
XLSX = f"{_OFFICE}.spreadsheetml.sheet"
HTML = "text/html"
EML = "message/rfc822"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
XML = "application/xml"
TEXT = "text/plain"
# An OLE file is an old Office document, or a new one under a password; the others are known and not parsed.
OLE = "application/x-ole-storage"
ZIP = "application/zip"
GZIP = "application/gzip"
BZIP2 = "application/x-bzip2"
XZ = "application/x-xz"
SEVEN_ZIP = "application/x-7z-compressed"
RAR = "application/vnd.rar"
RTF = "application/rtf"
BINARY = "application/octet-stream"

# What there is a format for.
READABLE = frozenset({PDF, DOCX, PPTX, XLSX, OLE, HTML, EML, MARKDOWN, CSV, TSV, JSON, XML, TEXT})
# What unpacks to more than it is: archives, and what offices write.
PACKED = frozenset({DOCX, PPTX, XLSX, OLE, ZIP, GZIP, BZIP2, XZ, SEVEN_ZIP, RAR})
