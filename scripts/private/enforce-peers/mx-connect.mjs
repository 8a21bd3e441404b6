// mx-connect.mjs FOLDER DOMAIN…: what mx-connect does for each domain, as a JSON object: the policy that it goes by, or
// why it has none, and whether it connects to an MX host. FOLDER has its node_modules.
import { createRequire } from 'node:module';
import path from 'node:path';

const [folder, ...domains] = process.argv.slice(2);
const mxConnect = createRequire(path.resolve(folder, 'package.json'))('mx-connect');

async function ask(domain) {
  let policy;
  const cache = { get: async () => false, set: async (_, found) => { policy = found; } };
  let mx;
  try {
    const connection = await mxConnect({ target: domain, mtaSts: { enabled: true, cache }, maxConnectTime: 10_000 });
    connection.socket.destroy();
    mx = 'connects';
  } catch (error) {
    mx = error.category === 'policy' ? 'refuses' : error.category ?? error.code;
  }
  if (policy?.error) return [policy.error.code ?? policy.error.message, mx];
  return [policy?.id ? policy.mode : 'no policy', mx];
}

const found = {};
// A few at a time, so that none waits for the others' handshakes.
const queue = domains.values();
await Promise.all(Array.from({ length: 8 }, async () => {
  for (const domain of queue) found[domain] = await ask(domain);
}));
console.log(JSON.stringify(found));
