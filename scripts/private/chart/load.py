"""Those who ask the service while it is restarted: each does one thing again and again, and notes what failed."""

import asyncio
import itertools
import json
import random
import ssl
import struct
import time

DEADLINE = 10
SLOW = 4  # longer than preStop


class Load:
    """One kind of client. `asked` and `failed` count; `once` is what it does; `at_once` so many do it."""

    def __init__(self, name, once, pause, at_once=1):
        self.name, self.once, self.pause, self.at_once = name, once, pause, at_once
        self.asked, self.failed, self.slowest = 0, [], 0.0

    async def run(self, stop):
        await asyncio.gather(*(self._run(stop, number * 0.5) for number in range(self.at_once)))

    async def _run(self, stop, offset):
        await asyncio.sleep(offset)
        while not stop.is_set():
            begun = time.monotonic()
            try:
                await asyncio.wait_for(self.once(), DEADLINE)
            except Exception as error:  # noqa: BLE001 - whatever it is, a client was not served
                self.failed.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            await asyncio.sleep(self.pause)


def expect(wanted, status, body=b""):
    if status != wanted:
        raise ValueError(f"status {status}: {body[:300]!r}")


class Http:
    """A connection that is kept, or one for each request."""

    def __init__(self, address, keep, tls=None, name=None, slow=0):
        self.slow = slow  # seconds that pass before the handshake and in the middle of the request
        self.address, self.keep, self.tls, self.name, self.stream, self.reopened = address, keep, tls, name, None, 0

    async def ask(self, method, path, headers=(), body=b""):
        kept = self.stream is not None
        try:
            return await self._ask(method, path, headers, body)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            # A kept connection may end while it is idle, and just then the next request comes: clients and proxies ask
            # again (RFC 9110 §9.2.2), if nothing at all was answered. On a fresh one that is a failure.
            if not kept or method != "GET" or getattr(error, "partial", b""):
                raise
            self.reopened += 1
            self.stream = None
            return await self._ask(method, path, headers, body)

    async def _ask(self, method, path, headers, body):
        if self.stream is None:
            reader, writer = self.stream = await asyncio.open_connection(*self.address)
            if self.tls:
                await asyncio.sleep(self.slow / 2)
                await writer.start_tls(self.tls, server_hostname=self.name)
        reader, writer = self.stream
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.name or 'localhost'}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        if not self.keep:
            lines.append("Connection: close")
        try:
            octets = "\r\n".join([*lines, "", ""]).encode() + body
            if self.slow:
                half = len(octets) - len(body) // 2 if body else len(octets) // 2
                writer.write(octets[:half])
                await asyncio.sleep(self.slow / 2)
                octets = octets[half:]
            writer.write(octets)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head.split(" ", 2)[1])
            fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
            if "content-length" in fields:
                answer = await reader.readexactly(int(fields["content-length"]))
            elif fields.get("transfer-encoding") == "chunked":
                answer = b""
                while size := int((await reader.readline()).split(b";")[0], 16):
                    answer += (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            else:
                answer = await reader.read()
        except BaseException:
            self.stream = None
            writer.close()
            raise
        if not self.keep or fields.get("connection", "").lower() == "close":
            self.stream = None
            writer.close()
        return status, answer


async def smtp(address, recipient, mail, slow=0):
    """One mail, from the greeting to its acknowledgement; `slow`: seconds between its halves."""
    reader, writer = await asyncio.open_connection(*address)

    async def reply(wanted):
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(wanted.encode()):
            raise ValueError(f"{wanted} expected, and it said {line!r}")

    try:
        await reply("220")
        for line, wanted in (("EHLO sender.test", "250"), ("MAIL FROM:<tlsrpt@sender.test>", "250"), (f"RCPT TO:<{recipient}>", "250"), ("DATA", "354")):
            writer.write(f"{line}\r\n".encode())
            await reply(wanted)
        octets = mail.replace("\n", "\r\n").encode() + b"\r\n.\r\n"
        writer.write(octets[:100])
        await asyncio.sleep(slow)
        writer.write(octets[100:])
        await reply("250")
        # It is stored; what is said to QUIT no longer matters.
        writer.write(b"QUIT\r\n")
        await reader.read()
    finally:
        writer.close()


def question(name, kind=16):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    number = random.randrange(65536)
    return number, struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def read_answer(number, octets, wanted):
    found, flags, _, answers = struct.unpack(">4H", octets[:8])
    if found != number or flags & 15 or not answers or wanted not in octets:
        raise ValueError(f"flags {flags:#x}, {answers} answers")


async def dns_udp(address, name, wanted):
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data, _):
            if not done.done():
                done.set_result(data)

        def error_received(self, error):
            if not done.done():
                done.set_exception(error)

    number, packet = question(name)
    transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=address)
    try:
        transport.sendto(packet)
        # Once: a resolver would ask again, and nobody should have to.
        read_answer(number, await asyncio.wait_for(done, 3), wanted)
    finally:
        transport.close()


async def dns_tcp(address, name, wanted):
    number, packet = question(name)
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(struct.pack(">H", len(packet)) + packet)
        length = struct.unpack(">H", await reader.readexactly(2))[0]
        read_answer(number, await reader.readexactly(length), wanted)
    finally:
        writer.close()


def report(number, domain):
    """A TLS report (RFC 8460 §4), another one for each number."""
    policy = {"policy": {"policy-type": "sts", "policy-domain": domain}, "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0}}
    day = {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"}
    return json.dumps({"organization-name": "Load", "date-range": day, "contact-info": "load@sender.test", "report-id": f"load-{number}", "policies": [policy]})


def mail(number, domain, recipient):
    return (
        f"From: tlsrpt@sender.test\nTo: {recipient}\nSubject: Report Domain: {domain} Submitter: sender.test Report-ID: <{number}@sender.test>\n"
        f"Message-ID: <{number}@sender.test>\nTLS-Report-Domain: {domain}\nTLS-Report-Submitter: sender.test\nMIME-Version: 1.0\n"
        f"Content-Type: application/tlsrpt+json\n\n{report(f'mail-{number}', domain)}"
    )


def loads(world, key, domain, label, txt):
    """All kinds of clients."""
    ports, numbers = world["ports"], itertools.count(1)
    name, reports = world["customer"], world["reports"]
    trust = ssl.create_default_context(cafile=world["roots"])
    intake_trust = ssl.create_default_context(cafile=world["intake_ca"])
    authorization = (f"Authorization: Bearer {key}",)
    api, edge, dns = ("127.0.0.1", ports["api"]), ("127.0.0.1", ports["edge"]), ("127.0.0.1", ports["dns"])
    host, path = f"mta-sts.{name}", "/.well-known/mta-sts.txt"
    record = f"{label}._mta-sts.{world['zone']}"
    stored = {"domains": 0, "reports": 0}
    kept_api, kept_posts, kept_edge = Http(api, True), Http(api, True), Http(edge, True, trust, host)

    async def read(connection):
        expect(200, *await connection.ask("GET", f"/v1/domains/{domain}", authorization))

    async def write_kept():
        # Nobody may repeat these, so that every one must be answered.
        body = json.dumps({"name": f"k{next(numbers)}.{name}", "mx": [f"mail.{name}"]}).encode()
        expect(201, *await kept_posts.ask("POST", "/v1/domains", (*authorization, "Content-Type: application/json"), body))
        stored["domains"] += 1

    async def write(slow=0):
        body = json.dumps({"name": f"d{next(numbers)}.{name}", "mx": [f"mail.{name}"]}).encode()
        expect(201, *await Http(api, False, slow=slow).ask("POST", "/v1/domains", (*authorization, "Content-Type: application/json"), body))
        stored["domains"] += 1

    async def fetch(connection):
        status, body = await connection.ask("GET", path)
        expect(200, status, body)
        if b"version: STSv1" not in body:
            raise ValueError(f"no policy: {body!r}")

    async def send(slow=0):
        recipient = f"tlsrpt-{label}@{reports}"
        await smtp(("127.0.0.1", ports["smtp"]), recipient, mail(next(numbers), name, recipient), slow)
        stored["reports"] += 1

    async def post(slow=0):
        connection = Http(("127.0.0.1", ports["intake"]), False, intake_trust, reports, slow)
        body = report(f"post-{next(numbers)}", name).encode()
        expect(201, *await connection.ask("POST", f"/v1/tlsrpt/{label}", ("Content-Type: application/tlsrpt+json",), body))
        stored["reports"] += 1

    made = [
        Load("API: GET, new connections", lambda: read(Http(api, False)), 0.05),
        Load("API: GET, one connection", lambda: read(kept_api), 0.05),
        Load("API: POST of a domain", write, 0.4),
        Load("API: POST of a domain, one connection", write_kept, 0.3),
        Load("edge: TLS handshake and policy", lambda: fetch(Http(edge, False, trust, host)), 0.02),
        Load("edge: policy, one connection", lambda: fetch(kept_edge), 0.05),
        Load("nameserver: UDP", lambda: dns_udp(dns, record, txt), 0.02),
        Load("nameserver: TCP", lambda: dns_tcp(dns, record, txt), 0.05),
        Load("intake: mail", send, 0.1),
        Load("intake: POST", post, 0.1),
        # Some of these are in the middle of it whenever a pod is told to end.
        Load("API: POST of a domain, slowly", lambda: write(SLOW), 0.1, 3),
        Load("edge: TLS handshake and policy, slowly", lambda: fetch(Http(edge, False, trust, host, SLOW)), 0.1, 6),
        Load("intake: mail, slowly", lambda: send(SLOW), 0.1, 3),
        Load("intake: POST, slowly", lambda: post(SLOW), 0.1, 3),
    ]
    return made, stored, (kept_api, kept_edge)
