"""Checks the page on standard input, served with the policy in the first argument: valid HTML, nothing from outside.

Prints what a person reads: the heading, and the text of all elements with a class of the second argument.
"""

import sys

import html5lib

NAMES = ("href", "src", "action", "data", "poster", "srcset", "formaction", "background")


def check(page, policy):
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'" and "unsafe" not in policy, policy
    ids = [element.attrib["id"] for element in tree.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)), ids
    inlines = {"style": 0, "script": 0}
    for element in tree.iter():
        tag = str(element.tag).split("}")[-1]
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in NAMES:
                check_address(tag, value, ids)
            if name == "aria-labelledby":
                assert value in ids, value
        if tag in inlines:
            inlines[tag] += 1
            assert directives[f"{tag}-src"] == f"'nonce-{element.attrib['nonce']}'"
            assert not element.attrib.keys() - {"nonce"}, element.attrib
        if tag == "table":
            assert element.find("caption") is not None
            assert all("scope" in cell.attrib for cell in element.iter("th"))
        if tag == "svg":
            assert "aria-label" in element.attrib or element.get("aria-hidden") or element.find("{*}text") is not None
    assert inlines == {"style": 1, "script": 1}, inlines
    assert [e.tag for e in tree.iter() if e.tag in ("h1", "h2", "h3")][:1] == ["h1"]
    assert len(list(tree.iter("h1"))) == 1 and tree.get("lang") == "en"
    return tree


def check_address(tag, value, ids):
    if tag == "link":
        assert value.startswith("data:image/svg+xml,"), value
    elif value.startswith("#"):
        assert value[1:] in ids, value
    else:
        assert tag == "a" and ":" not in value and not value.startswith("/"), (tag, value)


def text(element):
    return " ".join(" ".join(element.itertext()).replace("\u00a0", " ").split())


tree = check(sys.stdin.read(), sys.argv[1])
print(text(next(tree.iter("h1"))))
for element in tree.iter():
    if element.get("class", "").split() and sys.argv[2] in element.get("class").split():
        print(text(element))
