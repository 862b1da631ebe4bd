#!/usr/bin/env python3
"""A man page from what --experimental-dump-help of a tool prints. Reads standard input, writes standard output."""

import json
import sys

SECTIONS = {"patchbuild": 1, "livepatch": 8}


def escaped(text):
    """Text that roff takes for text."""
    text = text.replace("\\", "\\(rs").replace("-", "\\-").replace("`", "\\`").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def paragraphs(text):
    """Lines that are indented stand as they are; others are filled."""
    lines, fixed = [], False
    for line in text.split("\n"):
        indented = line.startswith("  ")
        if indented != fixed:
            lines.append(".PP" if not indented else ".PP\n.nf")
            if not indented:
                lines[-1] = ".fi\n.PP"
            fixed = indented
        lines.append(escaped(line) if line.strip() else ".PP" if not fixed else "")
    if fixed:
        lines.append(".fi")
    return lines


def spelled(argument):
    """`\\-\\-pid <pid>`, `<bundle>`."""
    value = "\\fI" + escaped(argument.get("valueName", "value")) + "\\fR"
    if argument["kind"] == "positional":
        return value
    dashes = {"long": "--", "short": "-", "longWithSingleDash": "-"}
    names = [dashes[name["kind"]] + name["name"] for name in argument.get("names", [])]
    text = ", ".join("\\fB" + escaped(name) + "\\fR" for name in names)
    return text + (" " + value if argument["kind"] == "option" else "")


def arguments(command):
    lines = []
    for argument in command.get("arguments", []):
        if not argument.get("shouldDisplay", True) or is_general(argument):
            continue
        text = argument.get("abstract", "")
        if argument.get("defaultValue") and argument["kind"] == "option":
            text += " (default: %s)" % argument["defaultValue"]
        lines += [".TP", spelled(argument), escaped(text) or "\\&"]
    return lines


def is_general(argument):
    """Every command has it."""
    return any(name["name"] in ("help", "h", "version") for name in argument.get("names", []))


def usage(path, command):
    words = ["\\fB" + escaped(" ".join(path)) + "\\fR"]
    for argument in command.get("arguments", []):
        if not argument.get("shouldDisplay", True) or is_general(argument):
            continue
        word = spelled(argument).split(", ")[-1]
        dots = " ..." if argument.get("isRepeating") else ""
        words.append("[" + word + "]" + dots if argument.get("isOptional") else word + dots)
    return " ".join(words)


def subcommands(command):
    return [child for child in command.get("subcommands", []) if child["commandName"] != "help"]


def page(command):
    name = command["commandName"]
    lines = ['.TH "%s" "%d" "" "%s" "Live patching"' % (name.upper(), SECTIONS[name], name)]
    abstract = command.get("abstract", "").rstrip(".")
    lines += [".SH NAME", "%s \\- %s" % (escaped(name), escaped(abstract[:1].lower() + abstract[1:]))]
    lines += [".SH SYNOPSIS"]
    for child in subcommands(command):
        lines += [usage([name, child["commandName"]], child), ".br"]
    lines += [".SH DESCRIPTION"] + paragraphs(command.get("discussion", ""))
    lines += [".SH COMMANDS"]
    for child in subcommands(command):
        lines += [".SS %s %s" % (escaped(name), escaped(child["commandName"])), escaped(child.get("abstract", ""))]
        if child.get("discussion"):
            lines += [".PP"] + paragraphs(child["discussion"])
        lines += arguments(child)
    if name == "livepatch":
        lines += files()
    others = [".BR %s (%d)" % other for other in SECTIONS.items() if other[0] != name]
    return lines + [".SH SEE ALSO"] + others


def files():
    named = [
        ("/etc/livepatch/allowed_signers", "Who may sign bundles, with which key, in the format of ssh-keygen(1)."),
        ("/etc/livepatch/policy", "How many of them must have signed, and of which groups."),
        ("/etc/livepatch/revoked", "Keys and bundles that are not believed any more."),
        ("/var/lib/livepatch", "The highest sequence seen of each patch."),
    ]
    lines = [".SH FILES"]
    for path, text in named:
        lines += [".TP", ".I " + path, escaped(text)]
    return lines


print("\n".join(page(json.load(sys.stdin)["command"])))
