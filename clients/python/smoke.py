"""A customer's first minutes with the generated client, against the service at MTASTS_URL. Run by `scripts/clients`."""

import os

from mtasts_client import AuthenticatedClient
from mtasts_client.api.domains import create_domain, delete_domain, list_domains, read_domain
from mtasts_client.api.policy import read_policy, set_mode
from mtasts_client.models import CreateDomain, Domain, DomainList, Mode, Policy, Problem, SetMode
from mtasts_client.types import UNSET


def same(given: object, expected: object, what: str) -> None:
    if given != expected:
        raise SystemExit(f"{what}: {given!r}, and not {expected!r}")


def typed(value: object, kind: type, what: str):
    if not isinstance(value, kind):
        raise SystemExit(f"{what} is {value!r}, and not a {kind.__name__}")
    return value


client = AuthenticatedClient(base_url=os.environ["MTASTS_URL"], token=os.environ["MTASTS_API_KEY"])
names = ["a.test", "b.test", "c.test"]
ids = []
for name in names:
    # The second request has no other effect than the first.
    for _ in range(2):
        body = CreateDomain(name=name, mx=[f"mx.{name}"])
        made = create_domain.sync(client=client, body=body, idempotency_key=f"create-{name}")
        ids.append(typed(made, Domain, f"the answer to {name}").id)
same(len(set(ids)), len(names), "the number of domains")

listed, cursor = [], UNSET
while cursor is not None:
    page = typed(list_domains.sync(client=client, limit=2, cursor=cursor), DomainList, "a page")
    listed += [domain.name for domain in page.data]
    cursor = page.next_cursor
same(sorted(listed), names, "the names of the list")

policy = typed(read_policy.sync(ids[0], client=client), Policy, "the policy")
same(policy.mode, Mode.TESTING, "mode")
tag = f'"{policy.id}"'
changed = set_mode.sync(ids[0], client=client, body=SetMode(mode=Mode.NONE), if_match=tag)
same(typed(changed, Policy, "the new policy").mode, Mode.NONE, "mode")

# Errors are typed too.
outdated = set_mode.sync(ids[0], client=client, body=SetMode(mode=Mode.TESTING), if_match=tag)
same(typed(outdated, Problem, "the answer").code, "precondition-failed", "code")
unknown = read_domain.sync("dom_00000000000070008000000000000000", client=client)
same(typed(unknown, Problem, "the answer").status, 404, "status")

# Nothing of it was ever served, so nothing has to be withdrawn.
same(typed(delete_domain.sync(ids[0], client=client), Domain, "the domain").state, "gone", "state")
