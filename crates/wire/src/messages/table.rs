//! All numbers, in order. A row: name = number, level, the line in general form, what it means, what to do.
//!
//! Numbers below 1000 are mod_wsgi's, for the same condition. Ours: 1001 the module, 1010 configurations, 1030 httpd and its
//! supervisor, 1050 the supervisor, 1100 daemon processes as the supervisor sees them, 1200 requests, 1220 scripts that
//! decide, 1300 daemon processes as they see themselves, 1350 limits of requests, 1380 Python.

super::messages! {
    PythonNotStarted = 1, Crit, "Python initialisation failed in Apache child process: {cause}; this child cannot load the scripts of WSGIImportScript and of aliases",
        "Python could not be started in one of httpd's children, which was to load scripts at its start. Requests in embedded mode get 500.",
        "Mend what the cause names, most often WSGIPythonHome, and restart httpd.";
    Chroot = 3, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot make {directory} the root directory (chroot=): {cause}; {what follows}",
        "A daemon process could not be confined to the directory of the option chroot.",
        "Name a directory that exists, and start httpd as root.";
    SetGroup = 4, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot become user \"{user}\" (setgid): {cause}; {what follows}",
        "A daemon process could not change to its group.",
        "Start httpd as root, or leave out user and group.";
    SetGroups = 5, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot become user \"{user}\" (setgroups): {cause}; {what follows}",
        "A daemon process could not take on the supplementary groups of its user, or those of the option supplementary-groups.",
        "Start httpd as root; the system limits how many groups a process may have.";
    SetUser = 7, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot become user \"{user}\" (setuid): {cause}; {what follows}",
        "A daemon process could not change to its user.",
        "Start httpd as root; the system limits how many processes a user may have.";
    Home = 9, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot change to the directory {directory} ({option}): {cause}; {what follows}",
        "A daemon process could not change to its working directory.",
        "Make the directory, let the user of the group enter it, or name another one with the option home.";
    UsersHome = 10, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: cannot change to the directory {directory} ({option}): {cause}; {what follows}",
        "A daemon process could not change to the home directory of its user, which is its working directory where the option home is missing.",
        "Make the directory, or name another one with the option home.";
    DaemonInterpreter = 29, Error, "the interpreter cannot be set up: {cause}",
        "A daemon process has its Python, but the main interpreter could not be made ready for applications. The supervisor tries again.",
        "The cause says which step failed.";
    BasicScriptMissing = 41, Error, "the provider wsgi has no script to ask for check_password(): WSGIAuthUserScript is missing for this URL; the client gets 500",
        "AuthBasicProvider wsgi holds for the URL, and WSGIAuthUserScript does not.",
        "Add WSGIAuthUserScript in the same section.";
    BasicFunctionMissing = 43, Error, "Target WSGI script '{script}' gives no answer: it does not contain a function check_password().",
        "The script of WSGIAuthUserScript was loaded and does not define check_password().",
        "Define check_password(environ, user, password) in it, or name another script.";
    DigestScriptMissing = 44, Error, "the provider wsgi has no script to ask for get_realm_hash(): WSGIAuthUserScript is missing for this URL; the client gets 500",
        "AuthDigestProvider wsgi holds for the URL, and WSGIAuthUserScript does not.",
        "Add WSGIAuthUserScript in the same section.";
    DigestFunctionMissing = 46, Error, "Target WSGI script '{script}' gives no answer: it does not contain a function get_realm_hash().",
        "The script of WSGIAuthUserScript was loaded and does not define get_realm_hash().",
        "Define get_realm_hash(environ, user, realm) in it, or name another script.";
    GroupNameType = 50, Error, "Target WSGI script '{script}' gives no answer: groups_for_user() returned {a value} among the names; each must be a str or bytes.",
        "One of the names of groups is none.",
        "Return names of type str or bytes that are not empty.";
    GroupsNotIterable = 51, Error, "Target WSGI script '{script}' gives no answer: groups_for_user() returned {a value}; it must return an iterable of names, such as a list.",
        "What the function returned holds no names.",
        "Return a list of names; an empty list for a user in no group.";
    GroupsFunctionMissing = 52, Error, "Target WSGI script '{script}' gives no answer: it does not contain a function groups_for_user().",
        "The script of WSGIAuthGroupScript was loaded and does not define groups_for_user().",
        "Define groups_for_user(environ, user) in it, or name another script.";
    AccessType = 55, Error, "Target WSGI script '{script}' gives no answer: allow_access() returned {a value}; it must return True, False or None.",
        "The access script answered neither yes nor no, so access is denied.",
        "Return True, False, or None to leave it to others.";
    AccessFunctionMissing = 56, Error, "Target WSGI script '{script}' gives no answer: it does not contain a function allow_access().",
        "The script of WSGIAccessScript was loaded and does not define allow_access(), so access is denied.",
        "Define allow_access(environ, host) in it, or name another script.";
    AccessDenied = 57, Error, "Client denied by server configuration: '{file}': {directive} {script}: {cause}",
        "An access script returned False, or could not be asked. The client gets 403.",
        "Nothing, if the script meant it; else look at the cause, and at the lines before this one.";
    GroupScriptMissing = 58, Error, "Require wsgi-group has no script to ask for groups_for_user(): WSGIAuthGroupScript is missing for this URL; the user counts as a member of no group",
        "Require wsgi-group holds for the URL, and WSGIAuthGroupScript does not.",
        "Add WSGIAuthGroupScript in the same section.";
    UserWithoutGroups = 59, Error, "Authorization of user '{user}' to access '{path}' failed. User is not a member of any groups: groups_for_user() of {script} names none",
        "Require wsgi-group asked for the groups of a user, who has none. The client gets 401 or 403, unless another Require lets it pass.",
        "Nothing, if the script means it.";
    UserOutsideGroups = 60, Error, "Authorization of user '{user}' to access '{path}' failed. User is not a member of designated groups: groups_for_user() of {script} names none of the groups {groups}",
        "Require wsgi-group asked for the groups of a user, who is in none of those that it names. The client gets 401 or 403, unless another Require lets it pass.",
        "Nothing, if the script means it.";
    SendBuffer = 62, Warn, "process group \"{group}\": send-buffer-size={bytes} cannot be set on a connection: {cause}; the system's size holds (said once in each child)",
        "The system refuses the size of a socket's buffer. Requests are served all the same.",
        "Choose a size that the system allows (net.core.wmem_max), or leave out the option.";
    ReceiveBuffer = 63, Warn, "process group \"{group}\": receive-buffer-size={bytes} cannot be set on a connection: {cause}; the system's size holds (said once in each child)",
        "The system refuses the size of a socket's buffer. Requests are served all the same.",
        "Choose a size that the system allows (net.core.rmem_max), or leave out the option.";
    Priority = 75, Warn, "process group \"{group}\" (defined at {place}): process {pid} runs without cpu-priority={value}: {call} failed: {cause}",
        "A daemon process runs with the priority that httpd has.",
        "Start httpd as root, or choose a value of 0 or above.";
    CpuLimit = 76, Warn, "process group \"{group}\" (defined at {place}): process {pid} runs without cpu-time-limit={seconds}: {call} failed: {cause}",
        "The system refuses the limit, so the processor time of a daemon process is not limited.",
        "Raise the hard limit that httpd is started with (ulimit -Ht).";
    DataLimit = 77, Warn, "process group \"{group}\" (defined at {place}): process {pid} runs without memory-limit={bytes}: {call} failed: {cause}",
        "The system refuses the limit, so the memory of a daemon process is not limited.",
        "Raise the hard limit that httpd is started with (ulimit -Hd).";
    AddressSpaceLimit = 78, Warn, "process group \"{group}\" (defined at {place}): process {pid} runs without virtual-memory-limit={bytes}: {call} failed: {cause}",
        "The system refuses the limit, so the address space of a daemon process is not limited.",
        "Raise the hard limit that httpd is started with (ulimit -Hv).";
    Locale = 79, Warn, "process group \"{group}\": locale={name}: the system does not have this locale, so the process runs with the locale of its environment; 'locale -a' lists those that there are",
        "The option locale (or lang) names a locale that is not installed.",
        "Install the locale, or name one of those that `locale -a` lists.";
    OutsideRoot = 81, Error, "the script \"{script}\" lies outside of chroot={directory}, so no process of the group can read it; the client gets 502",
        "The processes of the group see only what lies in their root directory.",
        "Put the script there, or leave out chroot.";
    QueueTimeout = 84, Error, "Queue timeout expired for WSGI daemon process '{group}': no request thread was free for {request} within {option}: {load}; the client gets 504",
        "All request threads of the process group were busy for too long. Further requests for which this holds have lines of level info.",
        "Look for requests that take long; give the group more processes or threads, or raise queue-timeout.";
    InterpreterUnavailable = 87, Error, "the interpreter of application group '{group}' could not be made: {cause}",
        "A request needs an interpreter that could not be made a short while ago. The client gets 500.",
        "See the WSGI0103 before it.";
    CallableMissing = 89, Error, "Target WSGI script '{script}' does not contain WSGI application '{name}'.",
        "The script was loaded, and what it defines has no such name. The client gets 500.",
        "Define `application` in the script, or name the object with WSGICallableObject or callable-object=.";
    ExitFunctions = 98, Error, "{exception}",
        "An exception came out of the end of an interpreter, where threads are waited for and functions of atexit are called.",
        "The exception says what failed.";
    InterpreterNotMade = 103, Error, "the interpreter of application group '{group}' could not be made: {cause}",
        "Python could not make a sub-interpreter, or it could not be made ready. Requests of the application group get 500.",
        "Look at the cause; an application that works only in the main interpreter needs WSGIApplicationGroup %{GLOBAL}.";
    StoppingUndelivered = 104, Error, "the event process_stopping was not delivered: {cause}",
        "Subscribers did not hear that the process ends.",
        "The exception says why, most often a lack of memory.";
    ScriptSource = 105, Error, "Could not read or compile WSGI script '{script}' for {interpreter}.",
        "A request asked for the script, and its file could not be read or has a syntax error. The client gets 500; the next request tries again.",
        "The traceback behind the line names the place.";
    ScriptSourceAtStart = 106, Error, "Could not read or compile WSGI script '{script}' for {interpreter}.",
        "The script was to be loaded when the process started, and its file could not be read or has a syntax error.",
        "The traceback behind the line names the place.";
    ScriptExit = 107, Error, "SystemExit exception raised when doing exec of Python script file '{script}'.",
        "A request asked for the script, which called sys.exit() while it was loaded. The client gets 500.",
        "Let the script end without it; it is loaded as a module and is not a program.";
    ScriptExitAtStart = 108, Error, "SystemExit exception raised when doing exec of Python script file '{script}'.",
        "The script was to be loaded when the process started, and called sys.exit() meanwhile.",
        "Let the script end without it; it is loaded as a module and is not a program.";
    ScriptRaised = 109, Error, "Unable to execute Python script file '{script}'.",
        "A request asked for the script, which raised an exception while it was loaded. The client gets 500; the next request tries again.",
        "The traceback behind the line says what was raised, and where. Where a module was missing, a line says who looked for it.";
    ScriptRaisedAtStart = 110, Error, "Unable to execute Python script file '{script}'.",
        "The script was to be loaded when the process started, and raised an exception.",
        "The traceback behind the line says what was raised, and where. Where a module was missing, a line says who looked for it.";
    CallbackRaised = 112, Error, "{exception} exception raised by event callback for '{event}': {callback}; the exception is ignored.",
        "A function that subscribed to events failed. The request or the process goes on.",
        "The traceback behind the line says where.";
    ConnectTimeout = 116, Error, "process group \"{group}\": no connection to a daemon process for {request} within connect-timeout={seconds}: {cause}; the client gets 503",
        "The supervisor took no connection in time.",
        "Look for lines of the supervisor; the machine may be overloaded.";
    ConnectFailed = 117, Error, "process group \"{group}\": no connection to a daemon process for {request} could be made: {cause}; the client gets 503",
        "The system refused a connection, most often for lack of descriptors.",
        "Raise the limit of open files (ulimit -n).";
    ResponseBroken = 119, Error, "Unable to proxy response from daemon process '{group}' to client: {cause}; the response is cut short",
        "A daemon process was lost, or fell silent, in the middle of a response.",
        "Look for the supervisor's line about the process: it says how it ended.";
    AttemptsExhausted = 124, Error, "process group \"{group}\": {count} daemon processes in a row went away before they read the request; the client gets 503",
        "Processes of the group end as fast as they start.",
        "Look for the lines about their ends.";
    TelemetrySocket = 132, Warn, "{group or embedded mode}: telemetry to {path}: the socket cannot be opened: {cause}; this process reports nothing",
        "The process can make no socket for WSGITelemetryService, or the path is too long for one.",
        "Choose a shorter path; if the cause is a limit, look at the number of open files.";
    TelemetryThread = 133, Warn, "{group or embedded mode}: telemetry to {path}: a thread cannot be started: {cause}; {what follows}",
        "The process could not start a thread that reports to WSGITelemetryService. It serves requests all the same.",
        "Raise the limit of threads of the user (ulimit -u) or of the service (TasksMax of systemd).";
    ExecCgi = 134, Error, "Options ExecCGI is off in this directory: \"{script}\"",
        "The script was reached by SetHandler or AddHandler, which needs Options ExecCGI. The client gets 403.",
        "Add Options +ExecCGI for the directory, or use WSGIScriptAlias.";
    ScriptMissing = 135, Error, "Target WSGI script not found or unable to stat: \"{script}\"",
        "There is no file where the URL was mapped to, or httpd's user may not enter the directories above it. The client gets 404.",
        "Correct the path in WSGIScriptAlias, or the permissions.";
    Directory = 136, Error, "Attempt to invoke directory as WSGI application: \"{directory}\"",
        "The URL leads to a directory, and a script is needed. The client gets 403.",
        "Name a script in WSGIScriptAlias, or add its name to the URL.";
    PathInfo = 137, Error, "AcceptPathInfo off disallows user's path: \"{path}\"",
        "The URL goes on behind the script, and AcceptPathInfo Off forbids that. The client gets 404.",
        "Nothing, if the directive means it.";
    TransferEncoding = 138, Error, "Unexpected value for Transfer-Encoding of '{value}' supplied.",
        "The body of the request is encoded in a way that is not known. The client gets 501.",
        "Correct the client.";
    ChunkedRequest = 139, Error, "Request requires chunked transfer encoding, but support for chunked transfer encoding has not been enabled; WSGIChunkedRequest On allows it",
        "The client did not announce the length of the body. It gets 411.",
        "Set WSGIChunkedRequest On, if the application can read a body without a length.";
    ContentLength = 141, Error, "Invalid Content-Length header value of '{value}' was supplied.",
        "The length of the body is no number. The client gets 400.",
        "Correct the client.";
    EmbeddedRestricted = 143, Error, "Embedded mode of mod_wsgi disabled by runtime configuration: WSGIRestrictEmbedded is On; select a process group by WSGIProcessGroup",
        "The request has no process group, and embedded mode is switched off. The client gets 500.",
        "Select a process group for the URL, or leave out WSGIRestrictEmbedded.";
    LongHeader = 144, Error, "Response header line too long from daemon process '{group}': {cause}; the client gets 500",
        "A header of the application's response is longer than the option header-buffer-size allows.",
        "Raise header-buffer-size, or let the application send less.";
    ResponseTimeout = 145, Error, "Timeout when reading response headers from daemon process '{group}': process {pid} sent nothing of the response to {request} within {option}; the client gets 504",
        "The application took longer to begin its response than socket-timeout or httpd's Timeout allows.",
        "Look for what the application waits for; request-timeout ends such requests, socket-timeout gives them more time.";
    ProcessClosed = 146, Error, "Daemon process '{group}' closed connection before sending complete response headers: {cause}; the client gets 502",
        "A daemon process ended, or closed the connection, before it sent a response.",
        "Look for the supervisor's line about the process: it says how it ended, and what it executed.";
    ConnectionBroken = 147, Error, "Error reading response headers from daemon process '{group}': {cause}; the client gets 502",
        "The connection to a daemon process broke before there was a response, most often because the process crashed.",
        "Look for the supervisor's line about the process: it says how it ended, and what it executed.";
    GroupRestricted = 149, Error, "Daemon process called '{group}' cannot be accessed by this WSGI application as not a member of allowed groups: {group} is not in the list of WSGIRestrictProcess for this request",
        "WSGIRestrictProcess lists the process groups of the URL, and this one is not among them. The client gets 500.",
        "Add the group to WSGIRestrictProcess, or select another one.";
    NoGroups = 150, Error, "No WSGI daemon process called '{group}' has been configured: no WSGIDaemonProcess defines any",
        "The request has a process group, and no group is defined at all. The client gets 500.",
        "Add WSGIDaemonProcess with this name.";
    GroupUnknown = 151, Error, "No WSGI daemon process called '{group}' has been configured: no WSGIDaemonProcess defines it",
        "The request has a process group that is not defined. The client gets 500.",
        "Correct the name in WSGIProcessGroup, process-group= or the dispatch script, or add WSGIDaemonProcess.";
    GroupOfOtherHost = 152, Error, "Daemon process called '{group}' cannot be accessed by this WSGI application: it belongs to another virtual host, as it is defined at {place}; define it outside of <VirtualHost> to use it from all",
        "A process group that is defined in a virtual host serves this host, and others with the same ServerName. The client gets 500.",
        "Define it outside of <VirtualHost>.";
    FileGroupUnknown = 153, Error, "the script \"{script}\" is refused by script-group={group}: its owner cannot be read",
        "httpd could not look at the file. The client gets 403.",
        "Let httpd's user enter the directories above the script.";
    FileGroup = 155, Error, "WSGI script file group '#{number}' does not match group required for daemon process: the script \"{script}\" is refused by script-group={group}",
        "The script belongs to another group than the process group allows. The client gets 403.",
        "Change the group of the file (chgrp), or the option script-group.";
    FileOthersGroup = 157, Error, "WSGI script file is writable to world: the script \"{script}\" is refused by script-group={group}: every user may write to it",
        "Anybody could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod o-w).";
    DirectoryGroupUnknown = 158, Error, "the directory of the script \"{script}\" is refused by script-group={group}: its owner cannot be read",
        "httpd could not look at the directory. The client gets 403.",
        "Let httpd's user enter the directories above the script.";
    DirectoryGroup = 160, Error, "Parent directory of WSGI script file has group '#{number}' which does not match group required for daemon process: the directory of the script \"{script}\" is refused by script-group={group}",
        "The directory of the script belongs to another group than the process group allows. The client gets 403.",
        "Change the group of the directory (chgrp), or the option script-group.";
    DirectoryOthersGroup = 161, Error, "Parent directory of WSGI script file is writable to world: the directory of the script \"{script}\" is refused by script-group={group}: every user may write to it",
        "Anybody could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod o-w).";
    FileOwnerUnknown = 162, Error, "the script \"{script}\" is refused by script-user={user}: its owner cannot be read",
        "httpd could not look at the file. The client gets 403.",
        "Let httpd's user enter the directories above the script.";
    FileOwner = 164, Error, "WSGI script file owner '#{number}' does not match user required for daemon process: the script \"{script}\" is refused by script-user={user}",
        "The script belongs to another user than the process group allows. The client gets 403.",
        "Change the owner of the file (chown), or the option script-user.";
    FileGroupWrites = 166, Error, "WSGI script file is writable to group: the script \"{script}\" is refused by script-user={user}: its group may write to it",
        "Others than the owner could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod g-w).";
    FileOthers = 168, Error, "WSGI script file is writable to world: the script \"{script}\" is refused by script-user={user}: every user may write to it",
        "Anybody could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod o-w).";
    DirectoryOwnerUnknown = 169, Error, "the directory of the script \"{script}\" is refused by script-user={user}: its owner cannot be read",
        "httpd could not look at the directory. The client gets 403.",
        "Let httpd's user enter the directories above the script.";
    DirectoryOwner = 171, Error, "Parent directory of WSGI script file has owner '#{number}' which does not match user required for daemon process: the directory of the script \"{script}\" is refused by script-user={user}",
        "The directory of the script belongs to another user than the process group allows. The client gets 403.",
        "Change the owner of the directory (chown), or the option script-user.";
    DirectoryOthers = 172, Error, "Parent directory of WSGI script file is writable to world: the directory of the script \"{script}\" is refused by script-user={user}: every user may write to it",
        "Anybody could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod o-w).";
    DirectoryGroupWrites = 173, Error, "Parent directory of WSGI script file is writable to group: the directory of the script \"{script}\" is refused by script-user={user}: its group may write to it",
        "Others than the owner could change what the process group executes. The client gets 403.",
        "Take away the permission (chmod g-w).";
    Raised = 174, Error, "{exception} exception raised processing WSGI script '{script}' for {interpreter}.",
        "An exception came out of the application or of a function of the script. The client gets 500, or a response that is cut short.",
        "The traceback behind the line says what was raised, and where.";
    Exited = 175, Error, "SystemExit exception raised by WSGI script '{script}' for {interpreter}; ignored.",
        "The application, or the script while it was loaded, called sys.exit(), which ends the request and not the process.",
        "The traceback behind the line says where.";
    UserEmpty = 176, Error, "Target WSGI script '{script}' gives no answer: check_password() returned an empty str; it must return True, False, None (no such user) or the name of the user as a str.",
        "The function named no user. The client gets 500.",
        "Return a name that is not empty.";
    UserType = 177, Error, "Target WSGI script '{script}' gives no answer: check_password() returned {a value}; it must return True, False, None (no such user) or the name of the user as a str.",
        "What the function returned is no answer. The client gets 500.",
        "Return True, False, None or a str.";
    HashEmpty = 178, Error, "Target WSGI script '{script}' gives no answer: get_realm_hash() returned an empty str; it must return the hash as a str or bytes, or None (no such user).",
        "The function returned no hash. The client gets 500.",
        "Return None where there is no such user.";
    HashType = 179, Error, "Target WSGI script '{script}' gives no answer: get_realm_hash() returned {a value}; it must return the hash as a str or bytes, or None (no such user).",
        "What the function returned is no hash. The client gets 500.",
        "Return a str, bytes or None.";
    CallbackExited = 190, Error, "SystemExit exception raised by event callback for '{event}'; ignored: {callback}",
        "A function that subscribed to events called sys.exit(), which ends neither the request nor the process.",
        "The traceback behind the line says where.";
    CloseLookup = 194, Error, "Lookup of 'close' attribute on WSGI response iterable raised an exception.",
        "What the application returned could not be asked whether it has close(). A WSGI0174 with the exception follows.",
        "Correct __getattr__ or the property of the object.";
    OwnGilTooOld = 198, Warn, "{group or embedded mode}: WSGIPerInterpreterGIL On is left out: Python {version} ({path}) has one GIL for all interpreters of a process; it takes Python 3.12 or later to give each its own",
        "The interpreters of the process share one GIL, as without the directive. This is logged once a process.",
        "Use Python 3.12 or later, or remove the directive.";
    SwitchInterval = 199, Warn, "WSGISwitchInterval is left out for application group '{group}': its interpreter shares the GIL of the process, whose interval is set for the process; with WSGIPerInterpreterGIL On it has a GIL of its own (Python 3.12 and later)",
        "A switch interval belongs to a GIL, and this application group has none of its own.",
        "Set WSGISwitchInterval for the server or switch-interval for the group, or give the interpreter its own GIL.";
    FreeThreadingWithoutEffect = 200, Warn, "{group or embedded mode}: WSGIFreeThreading On has no effect: {python} ({what chose it}) is no free-threaded build of Python",
        "The Python of these processes cannot run without its GIL.",
        "Name a free-threaded Python with WSGIPythonHome or python-home, or remove the directive for this group.";
    FreeThreadingIgnored = 201, Warn, "<WSGIInterpreterOptions> at {place}: WSGIFreeThreading is ignored beside application-group=, because all interpreters of a process run with a GIL or none does; write it into a container with process-group= alone",
        "The container chooses interpreters, and the directive holds for processes.",
        "Write the directive into a container with process-group= alone, or outside of containers.";
    OwnGilFreeThreaded = 202, Warn, "{group or embedded mode}: WSGIPerInterpreterGIL On is left out: Python {version} ({path}) runs without a GIL (WSGIFreeThreading On), so threads of all interpreters run at the same time",
        "This Python has no GIL to give to an interpreter. This is logged once a process.",
        "Remove the directive for this group.";
    SwitchIntervalWithoutGil = 203, Warn, "{group or embedded mode}: WSGISwitchInterval is left out: there is no GIL to switch, as WSGIFreeThreading is On",
        "Threads of this process run at the same time, so none has to let others run.",
        "Remove WSGISwitchInterval, or nothing.";
    GroupSwitchIntervalWithoutGil = 204, Warn, "process group \"{group}\": switch-interval is left out: there is no GIL to switch, as WSGIFreeThreading is On",
        "Threads of this process run at the same time, so none has to let others run.",
        "Remove the option switch-interval.";
    OwnSwitchIntervalWithoutGil = 205, Warn, "WSGISwitchInterval is left out for application group '{group}': there is no GIL to switch, as WSGIFreeThreading is On",
        "Threads of this process run at the same time, so none has to let others run.",
        "Remove the directive from the container.";
    SignalThread = 207, Error, "process group \"{group}\": process {pid}: cannot start a thread for {signal}: {cause}",
        "The callbacks of mod_wsgi.subscribe_signals() do not hear of a signal.",
        "The system may limit how many threads the user may have.";
    SignalUndelivered = 209, Error, "the event process_signal was not delivered: {cause}",
        "Subscribers did not hear of a signal.",
        "The exception says why, most often a lack of memory.";
    EmbeddedUnavailable = 210, Error, "Embedded mode of mod_wsgi cannot be used as Python was not initialised in this process: {cause}; the client gets 500",
        "Python could not be started in this child of httpd.",
        "Mend what the cause names, most often WSGIPythonHome, and restart httpd.";

    Internal = 1001, Crit, "internal error: {what}",
        "There is a mistake in mod_wsgi. httpd goes on.",
        "Report it, with the line and what led to it.";
    InternalOfRequest = 1002, Error, "internal error of mod_wsgi: {what}",
        "There is a mistake in mod_wsgi. The request has failed; the process goes on.",
        "Report it, with the line and what led to it.";
    Refused = 1010, Crit, "{mistake}",
        "The configuration cannot be used: what it says does not fit together, or files and users that it names are missing. httpd does not start.",
        "Correct what the line names.";
    LeftOut = 1011, Warn, "{directive or option} at {place} is left out, because mod_wsgi {version} and later versions do not have it; {what to write}",
        "A directive or an option of an earlier mod_wsgi is accepted and does nothing.",
        "Delete it, or follow the advice in the line.";
    Unprivileged = 1012, Warn, "WSGIDaemonProcess {group} user={user}: httpd was not started as root, so the processes run as uid {number}",
        "Only root can start processes of another user.",
        "Start httpd as root, or leave out user.";
    FormerFiles = 1013, Error, "{cause}; httpd goes on with the files that it opened before; mend this and run apachectl graceful again",
        "Files beside the module, such as the supervisor, are missing or do not fit. What was opened at the last start is still in use.",
        "Install all files of the same version, and run apachectl graceful.";
    NoFiles = 1014, Crit, "{cause}; httpd goes on, and so do a running supervisor and its processes; requests of other applications get 503, or 500 in embedded mode; mend this and run apachectl graceful again",
        "Files beside the module, such as the supervisor, are missing or do not fit, and none were opened before.",
        "Install all files of the same version, and run apachectl graceful.";
    Forbidden = 1015, Warn, "httpd refused a request for the script \"{script}\" before the application saw it; if it is no Require of yours that did, the directory is not open yet, which takes these three lines: {lines}",
        "The client got 403 from httpd's access control.",
        "Add a <Directory> section with Require all granted for the directory of the script.";
    SupervisorLost = 1030, Error, "supervisor {pid} was lost ({how}); httpd starts another one",
        "The process that watches daemon processes ended unexpectedly. The daemon processes serve on.",
        "Find out who ended it; a lack of memory is a common cause.";
    SupervisorUnreachable = 1031, Error, "httpd cannot send the configuration to supervisor {pid} ({cause}), which was lost; httpd starts another one",
        "The supervisor ended just before a restart.",
        "Find out who ended it; a lack of memory is a common cause.";
    NotTakenOver = 1032, Error, "the supervisor has not taken over the configuration, and httpd cannot send it again; its processes run with the former one",
        "The supervisor is there and has the configuration from before the restart.",
        "Run apachectl graceful again, or restart httpd.";
    NoSupervisor = 1033, Crit, "{cause}; nobody watches the daemon processes until a supervisor has started; httpd tries again every few seconds",
        "The supervisor could not be started. Daemon processes that run serve on; others do not start.",
        "Mend what the cause names.";
    BoardDamaged = 1034, Error, "process group \"{group}\": something wrote to its scoreboard (an application in embedded mode can); the group gets a new scoreboard and new processes",
        "Memory that httpd's children share was damaged.",
        "Look for extension modules that write where they must not, and move the application to daemon mode.";
    NotUnderstood = 1050, Error, "supervisor: {cause}; it keeps its former configuration",
        "The supervisor could not use what httpd sent at a restart.",
        "If descriptors are missing, raise the limit of open files; else restart httpd.";
    OtherVersion = 1051, Error, "supervisor: it belongs to mod_wsgi {version}, and the module speaks protocol {number}; it ends, so that httpd starts the supervisor that fits",
        "The files of mod_wsgi were replaced while httpd ran.",
        "Nothing; a restart of httpd avoids it.";
    BoardUnusable = 1052, Error, "process group \"{group}\": its scoreboard cannot be used: {cause}",
        "The supervisor could not map the shared memory of a group, so the group has no processes.",
        "Look at the cause, most often a lack of memory or descriptors, and run apachectl graceful.";
    Stood = 1053, Warn, "supervisor: it did not run for {seconds} s (somebody stopped it, or the machine slept); it goes on",
        "Limits that are measured in time were not looked at meanwhile.",
        "Nothing, if the machine slept.";
    NotKept = 1054, Warn, "supervisor: it cannot keep the control sockets of some processes for another supervisor ({cause}); if this supervisor is lost, these processes finish their requests and end; a higher limit of open files avoids that",
        "There are too many processes for the descriptors that the supervisor may have.",
        "Raise the limit of open files.";
    LogProgramEnded = 1055, Warn, "process group \"{group}\": the program that its error log is piped to has ended; until httpd starts it again (at graceful), lines about the group and its processes stand in the main error log",
        "The error log of a virtual host goes to a program that is gone.",
        "Find out why it ended, and run apachectl graceful.";
    ConnectionLost = 1056, Error, "supervisor: a connection of a child is lost, because the supervisor has no descriptor left; raise the limit of open files",
        "A request has to try again, because the supervisor may have no more descriptors.",
        "Raise the limit of open files.";
    LinesLost = 1057, Warn, "{count} lines could not be written to this error log before: {cause}",
        "The log's disk was full, or nobody read the pipe to the program of the log.",
        "Look at the cause.";
    CannotStart = 1100, Error, "process group \"{group}\" (defined at {place}): cannot start {python}: {cause}; {what follows}",
        "A daemon process could not be started, or it ended or fell silent before it was ready. The supervisor tries again.",
        "Mend what the cause names; `apachectl configtest` looks for the usual ones.";
    NotLoaded = 1101, Error, "process group \"{group}\": process {pid} could not load {scripts}: {exception}; {what follows}",
        "A daemon process could not load the scripts that the configuration names for it. Where older processes run, they serve on.",
        "Mend the script; a traceback stands before this line. The supervisor notices the mend.";
    ProcessLost = 1102, Error, "process group \"{group}\": process {pid} was lost: {how it ended} after {seconds} s, {requests} in flight; it is replaced",
        "A daemon process ended although nobody asked it to. Requests that it executed get 502.",
        "Find out why: a crash in an extension module, os._exit(), a lack of memory. The line names the requests.";
    EndedWithRequests = 1103, Warn, "process group \"{group}\": process {pid} is gone ({why}): {how it ended} after {seconds} s, {requests} in flight",
        "A daemon process had to end, and requests were cut off.",
        "Raise the limit that the line names, or find out why the requests take so long.";
    DrainTimeout = 1104, Warn, "process group \"{group}\": process {pid} still executes {requests} when {option} is over; it is stopped ({why})",
        "A process that is to end had time to finish its requests, and some did not end.",
        "Raise the option, or find out why the requests take so long.";
    ShutdownTimeout = 1105, Warn, "process group \"{group}\": process {pid} has not stopped when shutdown-timeout={seconds} is over; it gets SIGKILL",
        "A process did not end when it was told to; most often something in it waits and cannot be interrupted.",
        "Look for threads or exit functions that do not end; raise shutdown-timeout if they need the time.";
    Violation = 1106, Error, "process group \"{group}\": process {pid} {what it did}; it gets SIGKILL and is replaced",
        "A daemon process sent its supervisor something that no daemon process sends.",
        "Look for code of the application that writes to descriptors which are not its own.";
    NoSlot = 1107, Warn, "process group \"{group}\": no new process can start until an old one has finished its requests and ended",
        "Too many processes of the group are about to end, so their successors wait.",
        "Set graceful-timeout, so that old processes end in time.";
    SlowStart = 1108, Warn, "process group \"{group}\": process {pid} is not ready after {seconds}, while it {what it does}; the supervisor waits for it without limit (startup-timeout= sets one)",
        "A daemon process takes long to load its scripts.",
        "Look at the stacks behind the line; set startup-timeout.";
    MemoryLimitTooSmall = 1109, Warn, "process group \"{group}\": process {pid} has a resident set of {size}, above maximum-memory={size}, only {seconds} after it was ready: the limit is too small for the application; {what follows}",
        "Processes of the group would be replaced all the time.",
        "Raise maximum-memory.";
    ReplacementDelayed = 1110, Warn, "process group \"{group}\": process {pid} is to be replaced after {seconds}: {why}; {what follows}; several in a row ended soon after they were ready, the next start is in {seconds}",
        "Processes of the group reach a limit again and again, soon after their start.",
        "Raise the limit that the line names.";
    Stopped = 1111, Warn, "process group \"{group}\": {what has changed}; {requests} got 503, because for {seconds} no process could be started",
        "A time is over in which the group had no process.",
        "See the lines about it before.";
    LostUnseen = 1112, Error, "process group \"{group}\": process {pid} was lost while no supervisor was there to see how it ended; it is replaced",
        "A daemon process ended between two supervisors.",
        "See the line about the lost supervisor.";
    TooManyWait = 1200, Error, "process group \"{group}\": too many requests wait: {load}, listen-backlog={count}; clients get 503 while this lasts",
        "More requests wait for a request thread than the option allows.",
        "Look for requests that take long; give the group more processes or threads, or raise listen-backlog.";
    NoProcess = 1201, Error, "process group \"{group}\": it has no process, and for {seconds} no process could be started (defined at {place}): {cause}; clients get 503 while this lasts",
        "The first request that is refused says so for all of them; a WSGI1111 tells the end.",
        "See the supervisor's lines about the cause.";
    NotRepeatable = 1202, Error, "process group \"{group}\": process {pid} {what happened}; the client gets 503",
        "A process went away before it began the request, and another one cannot have it, because a part of its body is gone.",
        "Nothing; request-buffer sets how much of a body is kept.";
    NoResponse = 1203, Error, "process group \"{group}\": process {pid} sent bytes that are not a response: {cause}; the client gets 502",
        "What came from a daemon process is no response.",
        "Look for code of the application that writes to descriptors which are not its own.";
    EngineFailed = 1204, Error, "process group \"{group}\": process {pid}: {cause}; {what follows}",
        "The engine in a daemon process says why it has no response.",
        "Look at the lines of the process before this one.";
    FileOfResponse = 1205, Error, "the file of a response {what happened to it}; the response is cut short",
        "The application returned a file with wsgi.file_wrapper, and it could not be sent whole.",
        "Do not change files while they are sent; replace them by renaming.";
    Spool = 1206, Warn, "process group \"{group}\": a response cannot be kept for a slow client in spool-directory={directory}: {cause}; nothing is lost, but request threads wait for slow clients while this lasts",
        "Temporary files cannot be used.",
        "Make room on the disk, or name another directory.";
    Service = 1207, Error, "process group \"{group}\" has threads=0: its processes only run import scripts (WSGIImportScript) and serve no requests; threads=1 or more at {place}, or another process group",
        "A request was sent to a group that serves none. The client gets 500.",
        "Select another group for the URL, or give this one threads.";
    LongRequest = 1208, Error, "{what is too long}; the client gets 500",
        "The headers and variables of a request are larger than what can be passed to an application.",
        "Find out which variable is so large.";
    BodyLimit = 1209, Error, "Content-Length {bytes} is over the LimitRequestBody of {bytes} bytes",
        "The client announced a larger body than httpd is configured to take. It gets 413.",
        "Raise LimitRequestBody, if such bodies are meant.";
    LengthDiffers = 1210, Error, "WSGI script '{script}' declared a Content-Length of {bytes} and produced {bytes} bytes: the response is cut short.",
        "The application sent less than it announced.",
        "Correct the Content-Length, or leave it out.";
    NoAnswer = 1220, Error, "Target WSGI script '{script}' gives no answer: {why}.",
        "What the functions of a dispatch script returned cannot be used, or an answer is too long. The client gets 500.",
        "Return a str, bytes or None.";
    NotDecided = 1221, Error, "{directive} {script} (at {place}): {cause}; {what follows}",
        "A script that decides about a request could not be asked, or has failed.",
        "Look at the cause, and at the lines before this one.";
    HtaccessRestricted = 1222, Error, "WSGIRestrictEmbedded On lets no script of a .htaccess file run in httpd's children",
        "A .htaccess file names a script that decides.",
        "Name a process group for it, in httpd's configuration.";
    NotSetUp = 1300, Error, "{what}: {cause}",
        "A daemon process ended while it was set up. The supervisor tries again.",
        "Look at the cause; the supervisor's WSGI1100 repeats it.";
    StackSize = 1301, Warn, "process group \"{group}\": {what is wrong with the stack size}",
        "The option stack-size cannot be used as it is.",
        "Choose another size.";
    Unwatched = 1302, Warn, "process group \"{group}\": cannot watch the files of the failed script: {cause}",
        "The process does not notice when its script is mended; the supervisor's next try does.",
        "The system may limit how many threads the user may have.";
    WarmupUnknown = 1303, Warn, "process group \"{group}\": warmup={path} needs to know its application: {why}; the process makes no such request",
        "The option warmup cannot tell which application it is for.",
        "Give one alias to a script both process-group= and application-group=.";
    WarmupFailed = 1304, Error, "process group \"{group}\": warmup={path} {failed or was answered with a status} after {seconds} s (the process takes requests all the same)",
        "The first request, which the process makes itself, failed.",
        "See the lines of the application before it.";
    ThreadEnds = 1305, Error, "request thread {number} ends: epoll_wait: {cause}",
        "A request thread could not wait for connections.",
        "Look for code of the application that closes descriptors which are not its own.";
    CpuTime = 1306, Warn, "process group \"{group}\": process {pid} has used up its processor time, cpu-time-limit={seconds} s; the supervisor replaces it",
        "The process has reached the limit of the option.",
        "Nothing, if the limit is meant.";
    UnknownMessage = 1307, Warn, "process group \"{group}\": process {pid} ignores a message of the supervisor that it does not understand",
        "Something else than the supervisor may have written to the process's socket.",
        "Look for code of the application that writes to descriptors which are not its own.";
    NoDescriptor = 1308, Error, "process group \"{group}\": process {pid} has no descriptor left for a new connection (the application may forget to close files; 'ulimit -n' shows the limit); the supervisor replaces it",
        "The process has as many open files as it may have.",
        "Close files in the application, or raise the limit of open files.";
    ServiceThread = 1309, Error, "process group \"{group}\": cannot start a thread: {cause}",
        "A process with threads=0 could not listen to its supervisor, and ends.",
        "The system may limit how many threads the user may have.";
    Undelivered = 1310, Error, "an event was not delivered: {cause}",
        "Subscribers did not hear of a request.",
        "The exception says why, most often a lack of memory.";
    Forked = 1311, Error, "Exception occurred in process {pid}, which the application has forked; it ends with status {status}.",
        "A process that the application forked came back with an exception to where the request began.",
        "End such processes with os._exit(), or use subprocess or multiprocessing.";
    TelemetryForbidden = 1312, Warn, "{group or embedded mode}: telemetry to {path}: process {pid} may not write to the socket (permission denied for uid {uid}); its reports are lost until it may; {what it needs}",
        "The user of the process has no right to the socket of WSGITelemetryService. This is logged once a process.",
        "Let that user into the directory, and give the socket a mode or group that it may write to (mod_wsgi-telemetry serve --socket-mode, --socket-group).";
    EngineMissing = 1313, Error, "{python} is free-threaded, and its engine is missing: {file} has to lie beside libwsgi_engine.so, and to be of the module's own build; 'make engine PYTHON={python}' builds it",
        "A daemon process of a free-threaded Python did not find the engine that is made for this Python. The supervisor tries again.",
        "Build the engine with the command, install it beside the module, and restart httpd.";
    Interrupt = 1350, Warn, "process group \"{group}\": {request} has run for {seconds}, longer than request-timeout={seconds}; the process raises mod_wsgi.RequestTimeout in it, and it has interrupt-timeout={seconds} to end",
        "A request takes too long, and gets an exception.",
        "The stacks behind the line show what it waits for.";
    SlowBody = 1351, Warn, "process group \"{group}\": {request} has run for {seconds}, longer than request-timeout={seconds}; its client is slow to send the body, so only this request is ended, with 504",
        "A client sends the body of its request too slowly.",
        "Nothing; raise request-timeout if such clients are to be served.";
    Overrun = 1352, Error, "process group \"{group}\": {request} has run for {seconds}, longer than request-timeout={seconds}; {what follows}",
        "A request takes too long and could not be interrupted, so its process is replaced.",
        "The stacks behind the line show what it waits for.";
    Deadlock = 1353, Error, "process group \"{group}\": no thread could have Python's global lock (GIL) for {seconds}, longer than deadlock-timeout={seconds}; {what follows}",
        "Something in the process keeps the GIL: most often an extension module that waits without letting go of it.",
        "The stacks behind the line show where.";
    StartupTimeout = 1354, Error, "process group \"{group}\": the first script has been loading for {seconds}, longer than startup-timeout={seconds}; {what follows}",
        "The process is replaced, because its script does not come to an end of loading.",
        "The stacks behind the line show what it waits for.";
    EndForced = 1355, Warn, "process group \"{group}\": process {pid} did not end within shutdown-timeout={seconds}; {what is cut off}",
        "The process ends at once, because its end took too long.",
        "Look for threads or exit functions that do not end.";
    Stacks = 1356, Warn, "process group \"{group}\": Python stacks of all threads:",
        "What the threads of a process did when a request was interrupted.",
        "See the line before it.";
    StacksAtEnd = 1357, Error, "process group \"{group}\": Python stacks of all threads{perhaps: while one of them keeps the GIL}:",
        "What the threads of a process did that is to be replaced, or why that cannot be shown.",
        "See the line before it.";
    NoStacks = 1358, Warn, "signal {number} is ignored, and a process that is stuck cannot show its Python stacks: faulthandler: {cause}",
        "Python's faulthandler could not be set up.",
        "The cause says why.";
    LimitLinesLost = 1359, Warn, "{count} lines about limits are left out here: nobody read the log of this process",
        "The process wrote about limits faster than its log was read.",
        "Nothing.";
    WrongStr = 1380, Warn, "{group or embedded mode}: {what is wrong}",
        "This version of Python has a mistake that concerns sub-interpreters.",
        "Use a newer Python, or the main interpreter (WSGIApplicationGroup %{GLOBAL}).";
    SignalTimer = 1381, Warn, "Ignoring Python signal handler registration for signal {number} ({name}) in WSGI process; mod_wsgi manages signals (WSGIRestrictSignal). From now on the process ignores the signal.",
        "An application sets a timer and relies on the handler of its signal, which is never called.",
        "Use a thread or threading.Timer, or WSGIRestrictSignal Off where the script has the main thread.";
    ApacheModule = 1382, Error, "The module apache, an extension of mod_wsgi, cannot be imported; applications get one without it.",
        "There is a module apache on Python's path, and importing it in a child of httpd raised an exception.",
        "The traceback behind the line says what was raised.";
}
