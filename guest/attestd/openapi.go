package attestd

import _ "embed"

// openAPI describes the service to programs (OpenAPI 3.1). A test holds it
// against endpoints.
//
//go:embed openapi.json
var openAPI []byte
