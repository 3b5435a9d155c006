"""Uses extensions written in C and in Rust."""
import json

import numpy
from cryptography.fernet import Fernet
from pydantic import BaseModel


class Person(BaseModel):
    name: str


def application(environ, start_response):
    key = Fernet(Fernet.generate_key())
    told = {
        "sum": float(numpy.arange(10.0).sum()),
        "name": Person.model_validate_json('{"name": "Ada"}').name,
        "decrypted": key.decrypt(key.encrypt(b"secret")).decode(),
        "main_interpreter": is_main_interpreter(),
        "application_group": environ["mod_wsgi.application_group"],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


def is_main_interpreter():
    try:
        import _interpreters
        return _interpreters.get_current()[0] == 0
    except ImportError:
        import _xxsubinterpreters
        return int(_xxsubinterpreters.get_current()) == 0
