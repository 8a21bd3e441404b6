"""The table: domains.toml, one domain each with what is wrong with it, and what we and the peers say of it."""

import dataclasses
import tomllib

PEERS = ("resolver", "checkdmarc", "mx-connect", "postfix")
POLICY = ["version: STSv1", "mode: enforce", "mx: {mx}", "max_age: 604800"]
HTML = "<!doctype html>\n<title>Welcome</title>\n<p>It works!\n"


@dataclasses.dataclass
class Domain:
    """One row. In its texts `{domain}`, `{mx}` and `{address}` stand for it, its MX host and that host's address."""

    name: str
    wrong: str
    position: int
    # The texts of the TXT records at _mta-sts and _smtp._tls; one that is a list is sent as several strings.
    record: list = dataclasses.field(default_factory=lambda: ["v=STSv1; id=1;"])
    reports: list = dataclasses.field(default_factory=lambda: ["v=TLSRPTv1; rua=mailto:tls@{domain}"])
    # More lines of the zone file.
    zone: list = dataclasses.field(default_factory=list)
    # The policy host: whether it has an address; its certificate; and how it answers: policy, refused (no connection),
    # silent (nothing after it), slow, an HTTP status, or a media type in place of text/plain.
    host: bool = True
    certificate: str = "good"
    answer: str = "policy"
    policy: list = dataclasses.field(default_factory=lambda: POLICY)
    line_end: str = "\r\n"
    # The MX records, the host, who serves it (world, postfix, exim), and its certificate (none: it offers no STARTTLS).
    mx: list = dataclasses.field(default_factory=lambda: ["10 {mx}."])
    mx_host: str = "mx.{domain}"
    mx_server: str = "world"
    mx_certificate: str = "good"
    # What is said of it.
    ours: list = dataclasses.field(default_factory=list)
    said: dict = dataclasses.field(default_factory=dict)
    why: dict = dataclasses.field(default_factory=dict)

    @property
    def domain(self):
        return f"{self.name}.test"

    @property
    def host_address(self):
        return f"127.0.1.{self.position}"

    @property
    def mx_address(self):
        return f"127.0.2.{self.position}"

    def fill(self, text):
        return text.replace("{mx}", self.mx_host).replace("{domain}", self.domain).replace("{address}", self.mx_address)

    def zone_lines(self):
        def texts(owner, records):
            for record in records:
                strings = [record] if isinstance(record, str) else record
                yield f"{owner}.{self.domain}. 1 IN TXT " + " ".join(f'"{self.fill(one)}"' for one in strings)

        yield from texts("_mta-sts", self.record)
        yield from texts("_smtp._tls", self.reports)
        yield from (f"{self.domain}. 1 IN MX {self.fill(one)}" for one in self.mx)
        if self.host:
            yield f"mta-sts.{self.domain}. 1 IN A {self.host_address}"
        yield from map(self.fill, self.zone)
        if not any(line.startswith(f"{self.mx_host}. ") for line in map(self.fill, self.zone)):
            yield f"{self.mx_host}. 1 IN A {self.mx_address}"

    def http_answer(self):
        """Head and body."""
        body = "".join(self.fill(line) + self.line_end for line in self.policy)
        status, media_type, more = "200 OK", "text/plain", ""
        if self.answer[:3].isdigit():
            status = self.answer
            if self.answer.startswith("3"):
                more = "Location: https://mta-sts.sound.test/.well-known/mta-sts.txt\r\n"
        elif "/" in self.answer:
            media_type = self.answer
        elif self.answer == "html":
            media_type, body = "text/html", HTML
        elif self.answer == "large":
            # With all that a policy needs in its first octets.
            body += f"x-padding: {'x' * 70_000}{self.line_end}"
        head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body.encode())}\r\n{more}"
        return f"{head}Connection: close\r\n\r\n{body}".encode()


def read(path):
    """The rows, in their order."""
    with open(path, "rb") as file:
        rows = tomllib.load(file)["domain"]
    domains = []
    for position, row in enumerate(rows, 1):
        said = {peer: row.pop(peer) for peer in PEERS if peer in row}
        one = Domain(**row, said=said, position=position)
        one.mx_host = one.mx_host.replace("{domain}", one.domain)
        domains.append(one)
    assert len({one.name for one in domains}) == len(domains) < 255, "names are unique, and addresses have 254 positions"
    return domains
