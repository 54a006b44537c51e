def card(manifest, statistics, drawn):
    return ""
