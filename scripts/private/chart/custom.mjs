// custom.mjs < OBJECTS, as a copy in the folder in which package.json is installed: says what is wrong with Kubernetes
// objects of kinds that are not its own (Gateway API, Prometheus Operator), given as a JSON list of [label, object]. Their
// schemas take unknown keys, as a cluster does, which then drops them; types do not, so each object is held to both. Prints a
// JSON list of [label, problem].
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const GROUPS = {
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};
const objects = JSON.parse(readFileSync(0, "utf8"));
const problems = [];

for (const [label, made] of objects) {
  const group = GROUPS[made.apiVersion];
  const Model = group && (await import(group))[made.kind];
  if (!Model) {
    problems.push([label, `no schema of ${made.apiVersion} ${made.kind}`]);
    continue;
  }
  try {
    new Model(made).validate();
  } catch (error) {
    problems.push([label, error.message]);
  }
}

const known = objects.filter(([, made]) => GROUPS[made.apiVersion]);
const lines = known.map(([, made], index) => {
  const type = `import(${JSON.stringify(GROUPS[made.apiVersion])}).I${made.kind}`;
  return `export const made${index}: ${type} = ${JSON.stringify(made)};`;
});
const file = join(import.meta.dirname, "objects.ts");
const options = {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  target: ts.ScriptTarget.ES2022,
  types: [],
};
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile, readFile } = host;
host.fileExists = (name) => name === file || fileExists(name);
host.readFile = (name) => (name === file ? lines.join("\n") : readFile(name));
host.getSourceFile = (name, target, ...rest) =>
  name === file ? ts.createSourceFile(name, lines.join("\n"), target) : getSourceFile(name, target, ...rest);
for (const found of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
  const text = ts.flattenDiagnosticMessageText(found.messageText, ": ");
  if (!found.file || found.file.fileName !== file) {
    problems.push(["types", text]);
    continue;
  }
  const { line } = found.file.getLineAndCharacterOfPosition(found.start);
  problems.push([known[line][0], text]);
}
console.log(JSON.stringify(problems));
