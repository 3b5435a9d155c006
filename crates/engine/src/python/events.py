# Events: who hears of requests, of the end of the process and of signals. Run in the namespace of the prelude, once in each
# interpreter. request::events calls what is below for an event, and only while somebody listens.

event_callbacks, shutdown_callbacks, signal_callbacks = [], [], []
# The data of the requests that run, by request id. Filled while somebody may look: `_lookers` is not empty then.
active_requests, _lookers = {}, []


def add_events(api, is_daemon):
    """Puts what applications call into the module mod_wsgi."""
    def subscribe_events(callback, /):
        """Calls callback(name, **event) for each event of requests and at the end of the process. Returns the callback."""
        event_callbacks.append(callback)
        return callback

    def subscribe_shutdown(callback, /):
        """Calls callback('process_stopping', **event) before the interpreter ends. Returns the callback."""
        shutdown_callbacks.append(callback)
        return callback

    def subscribe_signals(callback, /):
        """Calls callback('process_signal', **event) when the daemon process gets SIGHUP or SIGUSR2. Returns the callback."""
        if is_daemon:
            signal_callbacks.append(callback)
        else:
            text = 'mod_wsgi.subscribe_signals() does nothing here: only daemon processes pass signals on, and this is a child of httpd.'
            _log_record(_INFO, (text + '\n' + _stack()).encode('utf-8', 'replace'))
        return callback

    def request_data():
        """The dict of the request that this thread executes, for the application and its subscribers."""
        return _request_data()

    api.event_callbacks = event_callbacks
    api.shutdown_callbacks = shutdown_callbacks
    api.signal_callbacks = signal_callbacks
    for function in (subscribe_events, subscribe_shutdown, subscribe_signals, request_data):
        function.__module__, function.__qualname__ = 'mod_wsgi', function.__name__
        setattr(api, function.__name__, function)


def _stack():
    """Where the application is."""
    frames = traceback.extract_stack()
    while frames and frames[-1].filename == _FILE:
        frames.pop()
    own = max((at for at, frame in enumerate(frames, 1) if frame.filename == _FILE), default=0)
    return ''.join(traceback.format_list(frames[own:])).removesuffix('\n')


def _look():
    """mod_wsgi.active_requests, from its first use on."""
    if not _lookers:
        _lookers.append(True)
        try:
            _request_data()
        except RuntimeError:
            pass  # No request has looked.
    return active_requests


def publish(name, event, *lists):
    """Calls each subscriber; one that returns a dict changes the event for those behind it. What it raises is logged."""
    for callback in [callback for callbacks in lists for callback in callbacks]:
        try:
            answer = callback(name, **event)
        except RequestTimeout:
            # It is meant for the request.
            raise
        except BaseException as error:
            _report(name, callback, error)
        else:
            if isinstance(answer, dict):
                event.update(answer)
    return event


def _report(name, callback, error):
    shown = getattr(callback, '__qualname__', None) or type(callback).__qualname__
    if isinstance(error, SystemExit):
        text = 'WSGI0190: SystemExit exception raised by event callback for %r; ignored: it is the callback %s.' % (name, shown)
    else:
        text = 'WSGI0112: %s exception raised by event callback for %r: the callback %s has failed; the exception is ignored.'
        text %= (type(error).__name__, name, shown)
    try:
        text += '\n' + describe(type(error), error, error.__traceback__).decode('utf-8', 'replace').removesuffix('\n')
    except Exception:
        text += '\n' + type(error).__name__
    _log_record(_ERROR, text.encode('utf-8', 'replace'))


def _event(environ_id, **event):
    """An event of a request; without a log id it has no request_id."""
    return event if environ_id is None else {'request_id': environ_id, **event}


def request_started(request_id, environ, application, data, thread_id, is_daemon):
    """Before the application is called; returns what is to be called."""
    times = {key: environ['mod_wsgi.' + key] for key in ('request_start', 'queue_start', 'daemon_start', 'application_start')}
    event = _event(
        request_id,
        thread_id=thread_id,
        # A request comes over one connection, and the process does not know of earlier attempts.
        daemon_connects=int(is_daemon),
        daemon_restarts=0,
        server_pid=int(environ.get('mod_wsgi.server_pid', 0)),
        **times,
        application_object=application,
        callable_object=environ['mod_wsgi.callable_object'],
        request_environ=environ,
        request_data=data,
    )
    return publish('request_started', event, event_callbacks).get('application_object')


def response_started(request_id, status, headers, exc_info, data):
    """At each call of start_response that is in its place."""
    event = _event(request_id, response_status=status, response_headers=headers, exception_info=exc_info, request_data=data)
    publish('response_started', event, event_callbacks)


def request_exception(request_id, kind, value, tb, data):
    """When an exception of a request is logged."""
    event = _event(request_id, exception_info=(kind, value, tb), request_data=data)
    publish('request_exception', event, event_callbacks)


def request_finished(request_id, data, **measured):
    """After close()."""
    publish('request_finished', _event(request_id, **measured, request_data=data), event_callbacks)


def process_stopping(reason):
    """Before the interpreter ends, once."""
    publish('process_stopping', {'shutdown_reason': reason}, event_callbacks, shutdown_callbacks)


def process_signal(name, number):
    """The process has got a signal that is for the application."""
    publish('process_signal', {'signame': name, 'signum': number}, event_callbacks, signal_callbacks)
