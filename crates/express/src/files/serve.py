
try:
    made = load()
    if SETTINGS["watch"]:
        changed_files(seen)
    application = made
except BaseException as error:
    # The module itself looks for the mend of what cannot be loaded.
    SETTINGS["watch"] = False
    tell(f"failed {type(error).__name__}: {error}".replace("\n", " "))
    raise
tell("ready")
