"""The package `openai`, as it is, against a node; and what it does not send, by hand."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from mixed_texts import mixed_lines, wordpiece
from node_fixture import Served
from raw_http import Reply, send
from text_node import SIZE, how, judged, text_node

TEXTS = [line for line in mixed_lines(60, seed=21) if line.strip()][:30]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with text_node() as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def post(served: Served, body: Any, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(served.address, "POST", "/v1/embeddings", data, {"Content-Type": "application/json", **headers})


def cosines(got: Any, want: Any) -> Any:
    return (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings_are_those_of_the_network(client: openai.OpenAI, encoding: Any) -> None:
    more = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="sentences", input=TEXTS, **more)
    assert answer.object == "list"
    assert answer.model == "sentences"
    assert [item.index for item in answer.data] == list(range(len(TEXTS)))
    vectors = [item.embedding for item in answer.data]
    if encoding == "base64":
        assert all(isinstance(vector, str) for vector in vectors)
        vectors = [np.frombuffer(base64.b64decode(str(vector)), "<f4").tolist() for vector in vectors]
    got = np.array(vectors)
    assert got.shape == (len(TEXTS), SIZE)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert cosines(got, judged(TEXTS)).min() >= 0.999999


def test_usage_counts_the_tokens(client: openai.OpenAI) -> None:
    tokenizer = Tokenizer.from_str(wordpiece())
    tokenizer.no_padding()
    tokenizer.enable_truncation(32)
    want = sum(len(tokenizer.encode(text).ids) for text in TEXTS)
    for _ in range(2):
        usage = client.embeddings.create(model="sentences", input=TEXTS).usage
        assert usage.prompt_tokens == usage.total_tokens == want


def test_one_text_and_its_ids_are_the_same(client: openai.OpenAI) -> None:
    tokenizer = Tokenizer.from_str(wordpiece())
    tokenizer.no_padding()
    ids = tokenizer.encode(TEXTS[3], add_special_tokens=False).ids[:20]
    text = tokenizer.encode("the gateway", add_special_tokens=False).ids
    one = client.embeddings.create(model="sentences", input="the gateway").data[0].embedding
    assert client.embeddings.create(model="sentences", input=text).data[0].embedding == one
    several = client.embeddings.create(model="sentences", input=[ids, text]).data
    assert several[1].embedding == one
    assert several[0].embedding != one


def test_dimensions_cut_and_normalise(client: openai.OpenAI) -> None:
    whole = np.array(client.embeddings.create(model="sentences", input="a text").data[0].embedding)
    short = np.array(client.embeddings.create(model="sentences", input="a text", dimensions=5).data[0].embedding)
    np.testing.assert_allclose(short, whole[:5] / np.linalg.norm(whole[:5]), atol=1e-6)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="sentences", input="a text", dimensions=SIZE + 1)
    assert caught.value.param == "dimensions"


def test_models_are_pipelines_that_make_a_vector_of_a_text(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["sentences"]
    assert client.models.retrieve("sentences").owned_by == "library"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("tokens")


@pytest.mark.parametrize("model", ["find", "none", ""])
def test_an_unknown_model(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model=model, input="a")
    error = caught.value
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error")
    assert "those are: `sentences`" in error.message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "body: Input data was truncated"),
        (b"{", 400, "body: "),
        (b"[" * 100_000, 400, "body: "),
        ({"model": "sentences"}, 400, "missing required field `input`"),
        ({"input": "a"}, 400, "missing required field `model`"),
        ({"model": "sentences", "input": 3}, 400, "Expected `str | array`, got `int`"),
        ({"model": "sentences", "input": []}, 400, "`input` is an empty list"),
        ({"model": "sentences", "input": ""}, 400, "`input[0]` is an empty text"),
        ({"model": "sentences", "input": ["a", ""]}, 400, "`input[1]` is an empty text"),
        ({"model": "sentences", "input": ["a", 3]}, 400, "`input[1]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [True]}, 400, "`input[0]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [-1]}, 400, "`input[0]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [[1, None]]}, 400, "`input[0]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [[]]}, 400, "`input[0]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [10**30]}, 400, "`input[0]` is no text and no list of token ids"),
        (b'{"model": "sentences", "input": [' + b"1" * 5000 + b"]}", 400, "body: "),
        ({"model": "sentences", "input": [[1 << 40]]}, 400, "`input[0]` is no text and no list of token ids"),
        ({"model": "sentences", "input": [5_999_999]}, 422, "token id 5999999 is not in the vocabulary"),
        ({"model": "sentences", "input": ["a"] * 2049}, 413, "`input` has 2049 entries, at most 2048"),
        ({"model": "sentences", "input": [[1] * 8193]}, 413, "`input[0]` has 8193 tokens, at most 8192"),
        ({"model": "sentences", "input": "a", "dimensions": 0}, 400, "Expected `int` >= 1"),
        ({"model": "sentences", "input": "a", "encoding_format": "hex"}, 400, "Invalid enum value 'hex'"),
    ],
)
def test_requests_that_are_refused(served: Served, body: Any, status: int, words: str) -> None:
    reply = post(served, body)
    assert reply.status == status
    error = reply.json["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error.keys() == {"message", "type", "param", "code"}


def test_other_errors_have_the_same_shape(served: Served) -> None:
    assert send(served.address, "GET", "/v1/nothing").json["error"].keys() == {"message", "type", "param", "code"}
    assert send(served.address, "GET", "/v1/embeddings").status == 405
    late = post(served, {"model": "sentences", "input": "never seen before"}, **{"Littoral-Deadline-Ms": "x"})
    assert (late.status, late.json["error"]["type"]) == (400, "invalid_request_error")


def test_a_deadline_ends_a_long_list_and_what_was_made_is_kept(served: Served) -> None:
    texts = [f"text {i} of many" for i in range(2048)]
    late = post(served, {"model": "sentences", "input": texts}, **{"Littoral-Deadline-Ms": "30"})
    assert late.status == 504
    assert late.json["error"]["type"] == "server_error"


def test_a_text_that_looks_like_a_record_is_a_text(client: openai.OpenAI) -> None:
    odd = client.embeddings.create(model="sentences", input='\x1e["a", "b"]').data
    assert len(odd) == 1
    want = judged(['\x1e["a", "b"]'])
    assert cosines(np.array([odd[0].embedding]), want).min() >= 0.999999


def test_the_same_text_again_comes_from_the_cache(served: Served) -> None:
    body = {"model": "sentences", "input": ["asked once", "asked twice"]}
    first, second = post(served, body), post(served, body)
    assert how(first.headers)["cache"] is None
    assert set(how(first.headers)["stages"]) == {"words", "encoder"}
    assert how(second.headers)["cache"] == "embedding"
    assert first.json == second.json
    half = post(served, {"model": "sentences", "input": ["asked twice", "asked first now"]})
    assert how(half.headers)["cache"] is None
    assert half.json["data"][0]["embedding"] == first.json["data"][1]["embedding"]
    fresh = post(served, body, **{"Cache-Control": "no-cache"})
    assert how(fresh.headers)["cache"] is None
    assert fresh.json == first.json
    alone = {"model": "sentences", "input": "never kept"}
    for _ in range(2):
        assert how(post(served, alone, **{"Cache-Control": "no-store"}).headers)["cache"] is None
    assert how(post(served, alone).headers)["cache"] is None
