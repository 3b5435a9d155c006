"""Leaves a child that holds all of its descriptors for the seconds of the query, then is killed."""
import os
import signal
import time


def application(environ, start_response):
    if os.fork() == 0:
        time.sleep(float(environ["QUERY_STRING"]))
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
