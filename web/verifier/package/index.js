// The verifier of secretvm for browsers and Node. Everything that decides runs
// in verify.wasm, the same Go code as `secretvm verify`; this file loads it,
// moves bytes in and JSON out, and asks machines over the network (machine.js).
import './wasm_exec.js'; // Go's own loader: sets globalThis.Go
import { ask } from './machine.js';

const beside = new URL('./verify.wasm', import.meta.url);
let running; // promise of the program; undefined before the first use and after it ended

// VerifyError carries the refusal: the input is not what it should be, and no
// report can be made of it. Evidence that is refused is a report instead.
export class VerifyError extends Error {
  constructor(refusal) {
    super(refusal.reason);
    this.name = 'VerifyError';
    this.refusal = refusal;
    this.code = refusal.code;
  }
}

// load starts the program from bytes, a compiled module or a URL; by default
// from verify.wasm beside this file. Calling it is optional.
export function load(source = beside) {
  running ??= start(source).catch((error) => {
    running = undefined;
    throw error;
  });
  return running.then(() => undefined);
}

async function start(source) {
  const go = new globalThis.Go();
  const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(await bytesOf(source));
  const instance = await WebAssembly.instantiate(module, go.importObject);
  const program = { ended: false };
  go.run(instance).finally(() => {
    program.ended = true;
    running = undefined;
  });
  program.call = globalThis.secretvmVerify;
  delete globalThis.secretvmVerify;
  if (typeof program.call !== 'function') throw new Error('verify.wasm is not the verifier');
  return program;
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source;
  const url = new URL(source);
  if (url.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    return readFile(url);
  }
  const answer = await fetch(url, { credentials: 'omit' });
  if (!answer.ok) throw new Error(`cannot load ${url}: status ${answer.status}`);
  return answer.arrayBuffer();
}

// call runs one operation: bytes and named fields in, one JSON document out.
async function call(operation, input, fields) {
  await load();
  const program = await running;
  let answer;
  try {
    answer = program.call(operation, input, fields);
  } catch (error) {
    running = undefined; // for example out of memory: the next call starts afresh
    throw new VerifyError({ code: 'internal', reason: `the verifier stopped: ${error.message}` });
  }
  if (typeof answer !== 'string') {
    running = undefined;
    throw new VerifyError({ code: 'internal', reason: 'the verifier stopped' });
  }
  const result = JSON.parse(lossless(answer));
  if (result.refusal) throw new VerifyError(result.refusal);
  return result;
}

// lossless quotes integers that a JavaScript number cannot hold, such as the
// TCB versions of AMD, and leaves everything else as it is.
function lossless(json) {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}/g, (token) => (token[0] === '"' || Number.isSafeInteger(Number(token)) ? token : `"${token}"`));
}

const encoder = new TextEncoder();

// bytes takes what callers have: binary, text, or an object that is JSON.
function bytes(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (typeof value === 'string') return encoder.encode(value);
  if (value && typeof value === 'object') return encoder.encode(JSON.stringify(value));
  throw new TypeError('want a Uint8Array, an ArrayBuffer, a string or an object');
}

const asBytes = { compose: 'compose', files: 'files', manifest: 'manifest', policy: 'policy' };
const asText = { service: 'service', groupKey: 'group_key' };

// fieldsOf writes what the caller wants in the program's terms.
function fieldsOf(wanted = {}) {
  const fields = {};
  for (const name of Object.keys(wanted)) {
    const value = wanted[name];
    if (value === undefined || value === null) continue;
    if (asBytes[name]) fields[asBytes[name]] = bytes(value);
    else if (asText[name]) fields[asText[name]] = encoder.encode(String(value));
    else if (name === 'trustRoots') fields.roots = joined([].concat(value).map(bytes));
    else if (name === 'registry' || name === 'collateral') [].concat(value).forEach((file, i) => { fields[i === 0 ? name : `${name}_${i + 1}`] = bytes(file); });
    else if (name === 'trustBundleRoots') fields.trust_bundle_roots = encoder.encode(value ? 'yes' : '');
    else if (name === 'time') fields.time = encoder.encode(new Date(value).toISOString());
    else if (name !== 'signal') throw new TypeError(`there is no option ${name}`);
  }
  return fields;
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length + 1, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
    whole[at++] = 10; // PEM blocks begin on a line of their own
  }
  return whole;
}

// made remembers, of each report that was handed out, its lines and what it was about.
const made = new WeakMap();

async function judge(operation, input, fields) {
  const { report, text, facts = '' } = await call(operation, input, fields);
  made.set(report, { text, facts, input });
  return report;
}

export async function verifyBundle(bundle, wanted) {
  return judge('bundle', bytes(bundle), fieldsOf(wanted));
}

export async function verifyEvidence(evidence, wanted) {
  return judge('evidence', bytes(evidence), fieldsOf(wanted));
}

export async function verifyURL(url, wanted) {
  const fields = fieldsOf(wanted); // wrong options are told before anything is asked
  const { address } = await call('address', encoder.encode(String(url)), {});
  let answer;
  try {
    answer = await ask(address, wanted?.signal);
  } catch (error) {
    if (!error.refusal) throw error;
    return judge('unanswered', bytes(error.refusal), { url: encoder.encode(address) });
  }
  const { attestation, ...seen } = answer;
  for (const name of Object.keys(seen)) fields[name] = bytes(seen[name]);
  return judge('answer', attestation, fields);
}

export async function bundleContents(bundle) {
  return (await call('contents', bytes(bundle), {})).contents;
}

export async function show(input) {
  return (await call('show', made.get(input)?.input ?? bytes(input), {})).shown;
}

export function reportText(report, { verbose = false } = {}) {
  const lines = made.get(report);
  if (!lines) throw new TypeError('want a report that this module returned');
  return verbose ? lines.text + lines.facts : lines.text;
}
