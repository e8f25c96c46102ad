"""Flask with the model loaded once, under waitress."""

from flask import Flask, Response, jsonify, request

from loadtest.peers.network import scorer, verdicts

app = Flask(__name__)
made = scorer()


@app.post("/name")
def name() -> Response:
    """A frame, or one name as a frame of one."""
    return jsonify(verdicts(made, request.get_json()["names"]))
