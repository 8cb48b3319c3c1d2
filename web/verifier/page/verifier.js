// The page: takes files and a URL, hands them to the verifier, shows its report.
// It writes text nodes only, never HTML: what a machine says stays text.
import { load, verifyBundle, verifyEvidence, verifyURL, bundleContents, show, VerifyError } from './package/index.js';
import { showReport, showRefusal, showRoots } from './report.js';

const $ = (id) => document.getElementById(id);
const maxFile = 64 << 20; // bytes; each kind has its own, smaller bound inside
let subject; // what was chosen last: {bytes, name} or {url}
let round = 0; // only the newest run may show its result

// The program is loaded at once, so that the page works offline from here on.
const ready = start();

async function start() {
  const answer = await fetch(new URL('package/verify.wasm', import.meta.url));
  const wasm = await answer.arrayBuffer();
  if (crypto.subtle) { // only where the page itself came over HTTPS or from this computer
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', wasm));
    $('digest').textContent = [...digest].map((b) => b.toString(16).padStart(2, '0')).join('');
  } else {
    $('digest').textContent = 'not computed: this page was not loaded over HTTPS';
  }
  await load(wasm);
  if (round === 0) $('status').textContent = '';
  document.body.dataset.ready = 'yes';
}

// run judges the subject against what is wished now, and again when either changes.
async function run() {
  if (!subject) return;
  const mine = begin(subject.url ? `Asking ${subject.url} …` : `Checking ${subject.name} …`);
  await new Promise((painted) => setTimeout(painted)); // the line above, before the processor is busy
  let view;
  try {
    await ready;
    const report = await judge(await wished());
    view = showReport(report, subject, () => show(report));
  } catch (error) {
    const refusal = error instanceof VerifyError ? error.refusal : { code: 'internal', reason: String(error?.message ?? error) };
    const { bytes } = subject;
    view = showRefusal(refusal, bytes && (() => show(bytes)));
  }
  end(mine, view);
}

// begin says what goes on and takes the old result away.
function begin(text) {
  $('result').replaceChildren();
  $('result').ariaBusy = 'true';
  $('status').textContent = text;
  return ++round;
}

// end shows a result, unless a newer run has begun, and moves the focus to it.
function end(mine, view) {
  if (mine !== round) return;
  $('status').textContent = '';
  $('result').ariaBusy = null;
  $('result').replaceChildren(view);
  view.scrollIntoView({ block: 'start' });
  view.querySelector('h2').focus({ preventScroll: true });
}

async function judge(wanted) {
  if (subject.url) return verifyURL(subject.url, wanted);
  if (!subject.bundle) return verifyEvidence(subject.bytes, wanted);
  return verifyBundle(subject.bytes, { ...wanted, trustBundleRoots: $('trust-bundle-roots').checked });
}

// wished reads the fields; an empty one is not there.
async function wished() {
  const wanted = {};
  for (const field of document.querySelectorAll('[data-wish]')) {
    const name = field.dataset.wish;
    if (field.type === 'file') {
      const files = await Promise.all([...field.files].map(bytesOf));
      if (files.length > 0) wanted[name] = field.multiple ? files : files[0];
    } else if (field.value.trim() !== '') {
      wanted[name] = name === 'time' ? `${field.value}Z` : field.value.trim();
    }
  }
  return wanted;
}

async function bytesOf(file) {
  if (file.size > maxFile) {
    throw new VerifyError({ code: 'too-large', reason: `${file.name} is too large`, field: file.name, found: `${file.size} bytes`, wanted: `at most ${maxFile}` });
  }
  return new Uint8Array(await file.arrayBuffer());
}

// choose takes a dropped or picked file.
async function choose(file) {
  if (!file) return;
  const chosen = { name: file.name };
  const mine = begin(`Reading ${file.name} …`);
  subject = undefined;
  $('trust-bundle-roots').checked = false; // trust is for one bundle
  $('bundle-roots').hidden = true;
  try {
    chosen.bytes = await bytesOf(file);
  } catch (error) {
    end(mine, showRefusal(error.refusal ?? { code: 'unavailable', reason: `${file.name} could not be read: ${error.message}` }));
    return;
  }
  let roots = [];
  chosen.bundle = chosen.bytes[0] === 0x50 && chosen.bytes[1] === 0x4b; // "PK": a zip file
  if (chosen.bundle) {
    const contents = await ready.then(() => bundleContents(chosen.bytes)).catch(() => ({})); // what is wrong with it, the run says
    roots = contents.roots ?? [];
  }
  if (mine !== round) return; // something newer was chosen meanwhile
  subject = chosen;
  showRoots($('bundle-root-list'), roots);
  $('bundle-roots').hidden = roots.length === 0;
  await run();
}

$('file').addEventListener('change', (event) => {
  const file = event.target.files[0];
  event.target.value = ''; // so that the same file can be chosen again
  choose(file);
});
for (const type of ['dragenter', 'dragover']) {
  document.addEventListener(type, (event) => { event.preventDefault(); $('drop').classList.add('over'); });
}
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) $('drop').classList.remove('over'); });
document.addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  if (event.target instanceof HTMLInputElement && event.target.dataset.wish && event.target.type === 'file') {
    event.target.files = event.dataTransfer.files;
    run();
    return;
  }
  choose(event.dataTransfer.files[0]);
});
$('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  const url = $('url').value.trim();
  if (url === '') return;
  subject = { url };
  $('bundle-roots').hidden = true;
  run();
});
$('url').addEventListener('input', () => {
  const link = $('own-page');
  link.hidden = !/^https:\/\/[^\s]+$/.test($('url').value.trim());
  if (!link.hidden) link.href = $('url').value.trim();
});
for (const field of document.querySelectorAll('[data-wish], #trust-bundle-roots')) field.addEventListener('change', run);

ready.catch((error) => {
  $('status').textContent = `The verifier could not be loaded: ${error.message}`;
});
