// One call of the package for the tests: JSON in, JSON out. Bytes are base64.
export async function perform(verifier, { operation, input, wanted = {} }) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  for (const name of ['compose', 'files', 'manifest', 'policy', 'collateral', 'registry', 'trustRoots']) {
    if (wanted[name]) wanted[name] = bytes(wanted[name]);
  }
  try {
    const made = await verifier[operation](operation === 'verifyURL' ? input : bytes(input), wanted);
    if (operation.startsWith('verify')) return { report: made, text: verifier.reportText(made, { verbose: true }) };
    return { [operation === 'show' ? 'shown' : 'contents']: made };
  } catch (error) {
    return { refusal: error.refusal, thrown: `${error.name}: ${error.message}` };
  }
}
