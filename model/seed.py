"""The network of 2020: a small image CNN over a name's code points, 1,913 parameters."""

from typing import Any

WIDTH = 256  # characters


def build() -> Any:
    """The seed network: code points (B, 16, 16, 1) -> probability of malicious (B, 1).

    A name is laid out as a 16 x 16 picture, row by row; code points are not scaled.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(16, 2, activation="relu"),  # (B, 15, 15, 16)
            layers.MaxPooling2D(2),  # (B, 7, 7, 16)
            layers.Conv2D(16, 2, activation="relu"),  # (B, 6, 6, 16)
            layers.MaxPooling2D(2),  # (B, 3, 3, 16)
            layers.Conv2D(8, 2, activation="relu"),  # (B, 2, 2, 8)
            layers.Flatten(),  # (B, 32)
            layers.Dense(8, activation="relu"),  # (B, 8)
            layers.Dense(1, activation="sigmoid"),  # (B, 1)
        ],
        name="seed",
    )
