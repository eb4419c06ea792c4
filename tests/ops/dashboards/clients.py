"""Clients of every kind for the nodes, so that every panel has something to show beside what k6 sends.

It judges nothing: what arrives is read and forgotten. A player says things in a room on each node, saves scores,
moves a cursor, comes and goes, polls, and tries a token that nobody takes.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import time
import urllib.error
import urllib.request

import websockets

MESSAGES_A_SECOND = 10


def token(secret, sub, name):
    """A JWT (HS256) of a player, good for an hour."""

    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {"sub": sub, "name": name, "exp": int(time.time()) + 3600}
    signed = ".".join(part(json.dumps(value).encode()) for value in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


async def member(url, player, topic, event, payload):
    """Joins a topic and pushes an event again and again, until it is cancelled."""
    numbers = itertools.count(1)
    async with websockets.connect(f"{url}/socket/websocket?vsn=2.0.0&token={player}") as socket:
        await socket.send(json.dumps(["1", str(next(numbers)), topic, "phx_join", {}]))

        async def push():
            while True:
                await asyncio.sleep(1 / MESSAGES_A_SECOND)
                await socket.send(json.dumps(["1", str(next(numbers)), topic, event, payload]))

        pushing = asyncio.create_task(push())
        try:
            async for _ in socket:
                pass
        finally:
            pushing.cancel()


async def visitor(url, player):
    """Comes and goes, joins what it may and what it may not, until it is cancelled."""
    while True:
        async with websockets.connect(f"{url}/socket/websocket?vsn=2.0.0&token={player}") as socket:
            for number, topic in enumerate(("chat_room:hall", "user:somebody else", "nothing:here"), 1):
                await socket.send(json.dumps([str(number), str(number), topic, "phx_join", {}]))
                await socket.recv()
            await socket.send("no frame")
        await asyncio.sleep(0.5)


def asked(url):
    """Asks by HTTP; whatever the answer is."""
    try:
        return urllib.request.urlopen(url, timeout=30).read().decode()
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


async def poller(url, player):
    """A long-poll session and, now and then, a token that nobody takes; until it is cancelled."""
    base = f"{url}/socket/longpoll?vsn=2.0.0"
    opened = json.loads(await asyncio.to_thread(asked, f"{base}&token={player}"))
    while True:
        await asyncio.to_thread(asked, f"{url}/socket/longpoll?vsn=2.0.0&token=bad")
        await asyncio.to_thread(asked, f"{base}&token={opened['token']}")


async def everybody(nodes, secret, over):
    """Every kind of client at each node, until the event is set."""
    ada = token(secret, "1", "ada")
    members = []
    for node in nodes:
        members += [
            member(node.ws_url, ada, "chat_room:hall", "new_message", {"message": "hello"}),
            member(node.ws_url, ada, "score:chess", "save_score", {"player_score": 7}),
            member(node.ws_url, ada, "room:lobby", "cursor", {"x": 1}),
            member(node.ws_url, ada, "user:1", "nothing", {}),
            visitor(node.ws_url, ada),
            poller(node.client_url, ada),
        ]
    tasks = [asyncio.create_task(one) for one in [asyncio.to_thread(over.wait), *members]]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def run(nodes, secret, over):
    """Loads the nodes until the `threading.Event` is set; raises what a client met."""
    asyncio.run(everybody(nodes, secret, over))
