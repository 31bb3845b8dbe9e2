"""Items to begin with."""

import httpx


def test_items_are_evenly_spaced_and_filtered(client: httpx.Client) -> None:
    whole = client.get("/items", params={"limit": 96}).json()
    ids = [item["id"] for item in whole["items"]]
    assert whole["num_items"] == len(set(ids)) == 96
    few = client.get("/items", params={"limit": 4}).json()
    assert [item["id"] for item in few["items"]] == [ids[at] for at in (0, 24, 48, 72)]
    category = whole["items"][0]["columns"]["category"]
    restricted = client.get("/items", params={"where": f"category={category}", "limit": 96}).json()
    expected = [item["id"] for item in whole["items"] if item["columns"]["category"] == category]
    assert [item["id"] for item in restricted["items"]] == expected
    none = client.get("/items", params={"where": "category=no such thing"}).json()
    assert none == {"num_items": 0, "items": []}


def test_a_filter_of_no_column_is_told(client: httpx.Client) -> None:
    answer = client.get("/items", params={"where": "colour=red"})
    assert answer.status_code == 400
    assert "colour" in answer.json()["detail"]
