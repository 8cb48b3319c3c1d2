// Verifies with @phala/dcap-qvl: one JSON request per line in, one answer out.
// {quote, collateral, at, root?, rounds?} -> {status, error, nanoseconds?}
// quote and root are hexadecimal; rounds asks for the time of one verification.
'use strict';
const { QuoteVerifier } = require(require.resolve('@phala/dcap-qvl', { paths: [process.argv[2]] }));

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
	const request = JSON.parse(line);
	const quote = Buffer.from(request.quote, 'hex');
	const verifier = request.root ? QuoteVerifier.newWithRootCa(Buffer.from(request.root, 'hex')) : QuoteVerifier.newProd();
	const answer = {};
	try {
		answer.status = verifier.verify(quote, request.collateral, request.at).status;
		if (request.rounds) {
			const begin = process.hrtime.bigint();
			for (let i = 0; i < request.rounds; i++) {
				verifier.verify(quote, request.collateral, request.at);
			}
			answer.nanoseconds = Number(process.hrtime.bigint() - begin) / request.rounds;
		}
	} catch (error) {
		answer.error = error.cause ? `${error.message}: ${error.cause.message}` : error.message;
	}
	process.stdout.write(JSON.stringify(answer) + '\n');
});
