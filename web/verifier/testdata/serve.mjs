// Runs the built package in Node for the tests: one JSON call a line in, one
// JSON result a line out. Usage: node serve.mjs FOLDER-OF-THE-PACKAGE
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const verifier = await import(pathToFileURL(`${process.argv[2]}/index.js`));
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, input, wanted = {} } = JSON.parse(line);
  for (const name of ['compose', 'files', 'manifest', 'policy', 'collateral', 'trustRoots']) {
    if (wanted[name]) wanted[name] = bytes(wanted[name]);
  }
  const result = {};
  try {
    const made = await verifier[operation](operation === 'verifyURL' ? input : bytes(input), wanted);
    if (operation.startsWith('verify')) Object.assign(result, { report: made, text: verifier.reportText(made, { verbose: true }) });
    else result[operation === 'show' ? 'shown' : 'contents'] = made;
  } catch (error) {
    result.refusal = error.refusal;
    result.thrown = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify(result));
}
process.exit(0); // the program inside waits for calls for ever
