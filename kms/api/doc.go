// Package api serves what may be read of the chain, and takes transactions, in
// the two ways that other programs know: gRPC with reflection, and REST with an
// OpenAPI 3 document at /openapi.json.
//
// Both follow from the protobuf services that the application registered: there
// is no list to keep. A method's path is its google.api.http annotation, or
// /package/of/its/service/name-of-the-method with the request's fields as query
// parameters, such as /secretvm/council/v1/proposals?council=svm1…&open=true.
//
// The JSON interface of package wire is what machines and kmsd speak; this one
// is for everybody else. It holds no secret and makes no decision.
package api
