def write_report(folder, manifest, statistics, samples):
    return []
