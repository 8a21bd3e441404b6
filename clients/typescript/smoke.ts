// A customer's first minutes with the generated client, against the service at MTASTS_URL. Run by `scripts/clients`.

import { createDomain, deleteDomain, listDomains, readDomain, readPolicy, setMode } from './mtasts/index.js';
import type { DryRun } from './mtasts/index.js';
import { client } from './mtasts/client.gen.js';

declare const process: { env: Record<string, string | undefined>; exitCode: number };

function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`${what} is missing`);
  return value;
}

function same(given: unknown, expected: unknown, what: string): void {
  if (given !== expected) throw new Error(`${what}: ${JSON.stringify(given)}, and not ${JSON.stringify(expected)}`);
}

// Without `dry_run` the answer is never one of what would happen; the document knows both.
function real<T extends object>(answer: T | undefined, what: string): Exclude<T, DryRun> {
  const value = must(answer, what);
  if ('dry_run' in value) throw new Error(`${what} is only what would happen`);
  return value as Exclude<T, DryRun>;
}

client.setConfig({ baseUrl: must(process.env.MTASTS_URL, 'MTASTS_URL'), auth: () => process.env.MTASTS_API_KEY });

const names = ['a.test', 'b.test', 'c.test'];
const ids: string[] = [];
for (const name of names) {
  const request = { body: { name, mx: [`mx.${name}`] }, headers: { 'Idempotency-Key': `create-${name}` } };
  const made = await createDomain(request);
  const domain = real(made.data, `the answer to ${name}`);
  same(domain.state, 'pending', 'state');
  // The same request again has no other effect.
  same(real((await createDomain(request)).data, 'the answer').id, domain.id, 'the id of the repeated request');
  ids.push(domain.id);
}

const listed: string[] = [];
let cursor: string | undefined;
do {
  const page = must((await listDomains({ query: { limit: 2, cursor } })).data, 'a page');
  listed.push(...page.data.map((domain) => must(domain.name, 'name')));
  cursor = page.next_cursor ?? undefined;
} while (cursor);
same(listed.sort().join(), names.join(), 'the names of the list');

const path = { domain_id: must(ids[0], 'an id') };
const policy = must((await readPolicy({ path })).data, 'the policy');
if (typeof policy === 'string') throw new Error('the policy came as text');
same(policy.mode, 'testing', 'mode');
const changed = await setMode({ path, body: { mode: 'none' }, headers: { 'If-Match': `"${policy.id}"` } });
same(real(changed.data, 'the new policy').mode, 'none', 'mode');

// Errors are typed too.
const outdated = await setMode({ path, body: { mode: 'testing' }, headers: { 'If-Match': `"${policy.id}"` } });
same(must(outdated.error, 'the problem').code, 'precondition-failed', 'code');
const unknown = await readDomain({ path: { domain_id: 'dom_00000000000070008000000000000000' } });
same(must(unknown.error, 'the problem').status, 404, 'status');

// Nothing of it was ever served, so nothing has to be withdrawn.
same(real((await deleteDomain({ path })).data, 'the domain').state, 'gone', 'state');
