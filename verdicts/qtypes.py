"""Query types as the verdict log holds them. The plugin's `qtypeTold` is the same rule; tests hold the two together.

A client may ask for 65,536 types, and each that the log holds is further rows of its counts and a value to choose from.
"""

from verdicts.dnswire import QTYPES

OTHER = "other"  # all that nobody assigned
# Those that the plugin tells by name.
NAMES = QTYPES | {
    "None": 0, "MD": 3, "MF": 4, "MB": 7, "MG": 8, "MR": 9, "NULL": 10, "HINFO": 13, "MINFO": 14, "RP": 17, "AFSDB": 18,
    "X25": 19, "ISDN": 20, "RT": 21, "NSAP-PTR": 23, "SIG": 24, "KEY": 25, "PX": 26, "GPOS": 27, "LOC": 29, "NXT": 30,
    "EID": 31, "NIMLOC": 32, "ATMA": 34, "KX": 36, "CERT": 37, "DNAME": 39, "OPT": 41, "APL": 42, "SSHFP": 44,
    "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DHCID": 49, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53,
    "HIP": 55, "NINFO": 56, "RKEY": 57, "TALINK": 58, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62,
    "ZONEMD": 63, "SPF": 99, "UINFO": 100, "UID": 101, "GID": 102, "UNSPEC": 103, "NID": 104, "L32": 105, "L64": 106,
    "LP": 107, "EUI48": 108, "EUI64": 109, "NXNAME": 128, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252,
    "MAILB": 253, "MAILA": 254, "URI": 256, "AVC": 258, "AMTRELAY": 260, "RESINFO": 261, "TA": 32768, "DLV": 32769,
}  # fmt: skip
# 65280 to 65534 are for private use, such as some tunnels'; of those below 512 some may be assigned by now.
# As DNS-collector calls some in its logs.
ALSO = {"TSLA": "TLSA", "NSAP_PTR": "NSAP-PTR", "NONE": "None", "WKS": "TYPE11", "NSAP": "TYPE22", "A6": "TYPE38"}
NUMBERS = (*range(512), NAMES["TA"], NAMES["DLV"], *range(65280, 65535))
_NAMED = {number: name for name, number in NAMES.items()}
_TOLD = (
    {f"TYPE{number}": _NAMED.get(number, f"TYPE{number}") for number in NUMBERS} | {name: name for name in NAMES} | ALSO
)


def told(qtype: str) -> str:
    """A type, by its name or as `TYPE262`, as the log holds it: one of some 800 texts; "" (none is known) stays."""
    return _TOLD.get(qtype, OTHER) if qtype else ""
