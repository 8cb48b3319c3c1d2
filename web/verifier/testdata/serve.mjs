// Runs the built package in Node for the tests: one JSON call a line in, one
// JSON result a line out. Usage: node serve.mjs FOLDER-OF-THE-PACKAGE
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { perform } from './perform.mjs';

const verifier = await import(pathToFileURL(`${process.argv[2]}/index.js`));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await perform(verifier, JSON.parse(line))));
}
