// Command padlock serves HTTPS with the certificate that its machine gives it,
// as whoever it runs as, and reads the files again for each connection.
package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"

	"github.com/secretvm/secretvm/vm"
)

func main() {
	server := &http.Server{
		Addr: ":8443",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "locked\n")
		}),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(vm.TLSFolder+"/cert.pem", vm.TLSFolder+"/key.pem")
			return &pair, err
		}},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
