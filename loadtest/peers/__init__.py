# Environment variable; "ours": our scorer, which has LiteRT compute, in TensorFlow's place.
SCORER = "VERDICT_PEER_SCORER"
