"""The design of 2020, written anew: Flask, one name a request, the model loaded for each."""

import keras
from flask import Flask, Response, jsonify, request

from loadtest.peers.network import FEATURES
from model.encoding import encoder

app = Flask(__name__)


@app.post("/name")
def name() -> Response:
    """One name, as `{"names": [name]}`."""
    network = keras.models.load_model(FEATURES, compile=False)
    rows = encoder("codepoints-256")(request.get_json()["names"]).reshape(-1, 16, 16, 1)
    score = float(network.predict(rows, verbose=0)[0, 0])
    return jsonify([{"score": score, "label": "malicious" if score >= 0.5 else "benign"}])
