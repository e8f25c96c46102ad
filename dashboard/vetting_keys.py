"""The single keys of vetting: what each is called and decides."""

# key: what it is called, the list it decides, the label it gives
DECISIONS: dict[str, tuple[str, str | None, str | None]] = {
    "a": ("allow", "benign", None),
    "b": ("block", "blocklist", None),
    "h": ("honeypot", "honeypot", None),
    "g": ("label generated", None, "generated"),
    "m": ("label malicious", None, "malicious"),
    "e": ("label benign", None, "benign"),
    "u": ("label unsure", None, "unsure"),
    "A": ("allow and label benign", "benign", "benign"),
    "B": ("block and label malicious", "blocklist", "malicious"),
}
UNDO = "z"
KEYS = [[key, what] for key, (what, _, _) in DECISIONS.items()] + [
    ["j k", "next, previous"], ["x", "choose several"], ["l", "list those alike"], [UNDO, "undo"], ["o", "open"],
]  # fmt: skip
FOR_ALL = ("j k", "l", "o")  # those that decide nothing
