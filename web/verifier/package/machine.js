// Asks a machine's attestation service for evidence over a fresh nonce. A
// browser does not tell scripts which TLS key its connection has, so whether
// that connection ends in the attested machine stays undecided here.

const limits = { attestation: 8 << 20, config: 64 << 10 }; // bytes

// Unanswered carries the refusal that becomes a report.
class Unanswered extends Error {
  constructor(refusal) {
    super(refusal.reason);
    this.refusal = refusal;
  }
}

export async function ask(address, signal = AbortSignal.timeout(30_000)) {
  const nonce = [...crypto.getRandomValues(new Uint8Array(32))].map((b) => b.toString(16).padStart(2, '0')).join('');
  const started = performance.now();
  const attestation = await get(address, `/attestation?nonce=${nonce}`, limits.attestation, signal);
  const took = Math.round(performance.now() - started);
  const config = await get(address, '/config', limits.config, signal);
  return { attestation, config, nonce, url: address, took_ms: String(took) };
}

async function get(address, path, limit, signal) {
  let answer;
  try {
    answer = await fetch(address + path, {
      cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', signal,
    });
  } catch (error) {
    throw unreachable(address, error);
  }
  const wrong = (found) => new Unanswered({
    code: 'malformed', reason: `${address} does not answer as an attestation service`,
    field: path.split('?')[0], ...found, hint: 'is the port that of the attestation service (29343)?',
  });
  if (answer.status === 503) {
    throw new Unanswered({ code: 'unavailable', reason: `${address} is too busy to answer`, hint: 'try again in a minute' });
  }
  if (!answer.ok) throw wrong({ found: `status ${answer.status}`, wanted: 'status 200' });
  try {
    const body = await bounded(answer, limit);
    if (body) return body;
  } catch (error) {
    throw unreachable(address, error);
  }
  throw wrong({ found: `more than ${limit} bytes`, wanted: `at most ${limit}` });
}

async function bounded(answer, limit) {
  const chunks = [];
  let size = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function unreachable(address, error) {
  const slow = error.name === 'TimeoutError';
  return new Unanswered({
    code: 'unavailable',
    reason: slow ? `${address} did not answer in time` : `${address} could not be asked from here`,
    hint: slow ? 'is the machine up?' : `browsers do not say why. Most often: its certificate is the machine's own, which you must accept once by opening ${address} in a tab; `
      + 'or the machine is down, or an older one that allows no other page to ask. `secretvm verify` has none of these limits',
  });
}
