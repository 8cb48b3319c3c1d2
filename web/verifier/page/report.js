// A report as elements. Same lines as the command's, in the same order.

const marks = { true: ['✓', 'good', 'holds'], false: ['✗', 'bad', 'fails'], null: ['·', 'open', 'not decided'] };
// kindOf colours a verdict; nothing that a soft TEE says is green.
function kindOf(report) {
  if (report.verdict === 'NOT VERIFIED') return 'bad';
  return report.verdict === 'VERIFIED' && !report.soft ? 'good' : 'open';
}
const maxShown = 400; // characters of one value, as on the terminal

// printable keeps what a machine says from acting on the text around it:
// control and formatting characters are replaced, length is bounded.
function printable(text, limit = maxShown) {
  const clean = [...String(text ?? '').replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, '\uFFFD')];
  return clean.length > limit ? clean.slice(0, limit).join('') + '…' : clean.join('');
}

// worded keeps the command's flags in one piece where lines break.
function worded(text) {
  return printable(text).split(/(--[a-z-]+)/).map((part, i) => (i % 2 ? element('span', 'flag', part) : part));
}

function element(tag, classes, ...children) {
  const e = document.createElement(tag);
  if (classes) e.className = classes;
  e.append(...children);
  return e;
}

// showReport returns the section for one report. The verdict takes the focus.
// decode is asked for the evidence's parts when somebody wants to see them.
export function showReport(report, subject, decode) {
  const section = element('section', `verdict ${kindOf(report)}`);
  const [shouted, warnings] = [report.warnings?.filter(loud) ?? [], report.warnings?.filter((w) => !loud(w)) ?? []];
  for (const warning of shouted) section.append(alarm(warning));
  const [title, summary] = [heading(report.verdict), element('p', 'summary', ...worded(report.summary))];
  summary.id = 'summary';
  title.setAttribute('aria-describedby', summary.id); // read out along with the verdict
  section.append(title, summary);
  for (const warning of warnings) section.append(element('p', 'warning', ...worded(warning)));
  section.append(element('ol', 'checks', ...together(report.checks).map(check)));
  if (report.machine) section.append(machine(report), bootLog(report.machine.boot_log), events(report.machine.events));
  if (report.verdict !== 'UNREACHABLE') section.append(decoded(decode));
  section.append(actions(report, subject));
  return section;
}

// loud warnings are in capitals.
const loud = (warning) => warning === warning.toUpperCase();

function alarm(text) {
  const box = element('div', 'shout', printable(text));
  box.setAttribute('role', 'alert');
  return box;
}

function heading(text) {
  const h = element('h2', '', printable(text));
  h.tabIndex = -1;
  return h;
}

// together makes one line of three or more neighbours that say the same, as the
// command does: what was not decided is said once.
function together(checks) {
  const lines = [];
  for (let i = 0; i < checks.length;) {
    const first = checks[i];
    let j = i;
    while (j < checks.length && checks[j].ok === null && checks[j].what === first.what && checks[j].detail === first.detail) j++;
    if (j - i < 3) j = i + 1;
    lines.push(j - i < 3 ? first : { ...first, name: `${first.name}…${checks[j - 1].name}` });
    i = j;
  }
  return lines;
}

// check is one line, and what differs below it.
function check(c) {
  const [mark, kind, spoken] = marks[String(c.ok)];
  const sign = element('span', 'mark', mark);
  sign.setAttribute('aria-hidden', 'true');
  const rest = element('div', 'rest', element('div', 'what', ...worded(c.what)));
  const detail = c.code ? `[${c.code}]` : printable(c.detail);
  if (detail) rest.append(element('div', 'detail', detail));
  rest.append(...difference(c.refusal));
  const name = element('div', 'name', printable(c.name), element('span', 'spoken', `: ${spoken}`));
  const line = element('li', `check ${kind}`, sign, element('div', 'body', name, rest));
  line.dataset.check = c.name;
  return line;
}

function difference(refusal) {
  const lines = [];
  if (refusal?.field) {
    for (const word of ['found', 'wanted']) {
      lines.push(element('span', 'pair', element('b', '', `${printable(refusal.field)} ${word} `), element('span', 'hex', printable(refusal[word]))));
    }
  }
  if (refusal?.hint) lines.push(element('p', 'try', 'try: ', ...worded(refusal.hint)));
  return lines;
}

function expandable(title, ...children) {
  return element('details', '', element('summary', '', title), ...children);
}

function table(rows) {
  const list = element('dl', 'table');
  for (const [name, value] of rows) {
    if (value === undefined || value === '') continue;
    list.append(element('div', '', element('dt', '', name), element('dd', 'hex', printable(value))));
  }
  return list;
}

function machine({ machine: m, anchor, time, system }) {
  return expandable('What the machine proves', table([
    ['TEE', m.tee], ['System', system], ['Judged as of', moment(time)], ['Valid until', moment(m.valid_until)],
    ['TCB status', m.tcb_status], ['Advisories', m.advisories?.join(' ')], ['After the next recovery', m.early?.tcb_status],
    ['FMSPC', m.fmspc], ['Hardware', m.hardware_id], ['Root', `${anchor.subject}, sha256 ${anchor.sha256}`],
    ...registers(m), ['Report data', hex(m.report_data)], ...(m.gpus ?? []).map(gpu),
  ]));
}

// registers lists what was measured, as the kind of machine has it.
function registers(m) {
  if (m.snp) return Object.entries(m.snp).map(([name, value]) => [`SNP ${name.replaceAll('_', ' ')}`, shown(name, value)]);
  if (m.sgx) return Object.entries(m.sgx).map(([name, value]) => [`SGX ${name.replaceAll('_', ' ')}`, shown(name, value)]);
  const r = m.measurement;
  return [['MRTD', r.mrtd], ...r.rtmr.map((value, i) => [`RTMR${i}`, value]), ['MR_CONFIG_ID', r.mr_config_id],
    ['TD attributes', bits(m.attributes)], ['XFAM', bits(m.xfam)]];
}

function shown(name, value) {
  return /^(policy|platform_info|.*_tcb)$/.test(name) ? bits(value) : value;
}

const bits = (value) => `0x${BigInt(value).toString(16)}`;

function gpu(g) {
  const measured = g.measured ? 'as NVIDIA documents it' : 'not compared with NVIDIA\'s documents';
  return [g.kind, [g.model, g.sku, g.hardware_id, g.driver && `driver ${g.driver}`, g.firmware && `firmware ${g.firmware}`, measured].filter(Boolean).join(', ')];
}

function bootLog(list) {
  if (!list?.length) return '';
  return expandable(`What booted: ${list.length} events in the registers`, element('ol', 'rows', ...list.map((e) => element('li', '',
    element('h3', '', `RTMR${e.register} ${printable(e.name)}`),
    element('p', '', e.proven ? '' : 'the machine says: ', printable(e.description)),
    element('p', 'hex', e.digest)))));
}

function events(list) {
  if (!list?.length) return '';
  return expandable(`What it measured: ${list.length} events in RTMR3`, element('ol', 'rows', ...list.map((e) => {
    const payload = e.payload ? [element('p', 'hex', hex(e.payload))] : [];
    return element('li', '', element('h3', '', printable(e.name)), ...payload);
  })));
}

// moment writes an RFC 3339 time in UTC for people.
function moment(time) {
  return new Date(time).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC');
}

function hex(base64) {
  return [...atob(base64 ?? '')].map((c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}

function link(url, text) {
  const a = element('a', 'button', text);
  Object.assign(a, { href: url, target: '_blank', rel: 'noopener noreferrer' });
  return a;
}

function actions(report, subject) {
  const save = element('button', '', 'Save the report');
  save.type = 'button';
  save.addEventListener('click', () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(report, null, 2), '\n'], { type: 'application/json' }));
    link.download = 'report.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  const made = subject.url ? report.url || subject.url : subject.name;
  const own = report.verdict === 'UNREACHABLE' && /^https:\/\//.test(report.url) ? link(report.url, 'Open its own page') : '';
  return element('div', 'actions', own, save, element('p', 'quiet', `About ${printable(made)}, judged as of ${moment(report.time)}`));
}

// decoded shows all parts of the evidence, once it is opened.
function decoded(decode) {
  const inside = element('div', 'exhibit');
  const details = expandable('Every field and certificate, decoded', inside);
  details.addEventListener('toggle', async () => {
    if (!details.open || inside.hasChildNodes()) return;
    inside.append(element('p', 'warning', 'Decoded, NOT VERIFIED: anyone can write such bytes. What holds is said above.'));
    try {
      const { form, sections } = await decode();
      inside.append(element('p', 'quiet', printable(form)), ...sections.map(part));
    } catch (error) {
      inside.append(element('p', '', printable(error.message)));
    }
  });
  return details;
}

function part({ title, rows }) {
  const list = element('dl', 'table', ...rows.map((row) => {
    const value = element('dd', 'hex', printable(row.value, 2000));
    if (row.remark) value.append(element('span', 'remark', printable(row.remark, 2000)));
    return element('div', '', element('dt', row.name.startsWith(' ') ? 'deeper' : '', printable(row.name.trim())), value);
  }));
  return element('section', '', element('h3', '', printable(title)), list);
}

// showRefusal is shown in place of a report, when none could be made.
export function showRefusal(refusal, decode) {
  const section = element('section', 'verdict bad', heading('NOT VERIFIED'), element('p', 'summary', `${printable(refusal.reason)} [${printable(refusal.code)}]`), ...difference(refusal));
  if (decode) section.append(decoded(decode));
  return section;
}

// showRoots lists the certificates that a bundle brings.
export function showRoots(list, roots) {
  list.replaceChildren(...roots.map((root) => element('li', '', element('h3', '', printable(root.subject)), element('p', 'hex', `sha256 ${printable(root.sha256)}`))));
}
