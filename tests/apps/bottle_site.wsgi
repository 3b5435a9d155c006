"""A small Bottle application."""
from bottle import Bottle

application = Bottle()


@application.get("/hello/<name>")
def hello(name):
    return f"Hello {name}!"
