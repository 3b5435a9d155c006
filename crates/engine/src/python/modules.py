# The modules that mod_wsgi shares with others: `apache`, which may be the user's own, and an installed package `mod_wsgi`. Run in
# the namespace of the prelude, once in each interpreter.


def add_apache(facts):
    """Makes the module apache. In httpd's children it is the user's own, if there is one."""
    module = None if facts['process_group'] else _own_apache()
    if module is None:
        module = sys.modules['apache'] = types.ModuleType('apache')
    vars(module).update(facts['httpd'], version=facts['apache_version'])


def _own_apache():
    try:
        import apache
    except BaseException as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == 'apache'):
            text = 'WSGI1382: The module apache, an extension of mod_wsgi, cannot be imported; applications get one without it.\n'
            record = text.encode() + describe(type(error), error, error.__traceback__).removesuffix(b'\n')
            _log_record(_ERROR, record)
        return None
    return apache


def _installed():
    """Where the modules of an installed package mod_wsgi are: mod_wsgi.__path__. The package itself stays out."""
    for finder in sys.meta_path:
        find = getattr(finder, 'find_spec', None)
        spec = find('mod_wsgi', None) if find is not None else None
        if spec is not None and spec.submodule_search_locations is not None:
            return list(spec.submodule_search_locations)
    raise AttributeError("module 'mod_wsgi' has no attribute '__path__'")
