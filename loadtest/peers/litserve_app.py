"""LitServe with its batching: requests that arrive together are scored in one call."""

import sys
from typing import Any

import litserve

from loadtest.peers.network import scorer, verdicts


class Judge(litserve.LitAPI):  # type: ignore[misc]
    """A request holds a frame, or one name as a frame of one."""

    def setup(self, device: str) -> None:
        self.made = scorer()

    def decode_request(self, request: dict[str, Any]) -> list[str]:
        return list(request["names"])

    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        return inputs

    def predict(self, frames: list[list[str]]) -> list[list[dict[str, object]]]:
        found = verdicts(self.made, [name for frame in frames for name in frame])
        answers, start = [], 0
        for frame in frames:
            answers.append(found[start : start + len(frame)])
            start += len(frame)
        return answers

    def unbatch(self, output: list[list[dict[str, object]]]) -> list[list[dict[str, object]]]:
        return output

    def encode_response(self, output: list[dict[str, object]]) -> list[dict[str, object]]:
        return output


if __name__ == "__main__":
    api = Judge(max_batch_size=64, batch_timeout=0.005, api_path="/name")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="error"
    )
