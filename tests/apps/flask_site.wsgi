"""A small Flask application."""
from flask import Flask, jsonify, request, session, stream_with_context, Response

application = Flask(__name__)
application.secret_key = "for tests"


@application.get("/")
def index():
    return f"index at {request.script_root}/"


@application.get("/items/<int:item>")
def show(item):
    return jsonify(item=item, q=request.args["q"])


@application.post("/form")
def form():
    return f"{request.form['name']} says {request.form['text']}"


@application.post("/upload")
def upload():
    file = request.files["file"]
    return f"{file.filename} {len(file.read())}"


@application.get("/stream")
def stream():
    return Response(stream_with_context(f"{n}," for n in range(3)))


@application.get("/login")
def login():
    session["user"] = "ada"
    return "welcome"


@application.get("/me")
def me():
    return session["user"]
