
try:
    application = load()
except BaseException as error:
    tell(f"failed {type(error).__name__}: {error}".replace("\n", " "))
    raise
tell("ready")
