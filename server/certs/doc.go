// Package certs makes tls.Configs of what an operator wrote for a Java server: key and trust stores
// in PEM, PKCS12 or JKS, names of protocols and cipher suites, and whether clients must show a certificate.
//
// A store is read by what it holds, not by its name or declared type, since Java reads PKCS12 under the
// name of JKS as well; only BCFKS is refused by name. What a Java server would only notice at the first
// handshake (a missing key store, a wrong password, suites that do not exist) is an error here, before a port
// is bound.
//
// Configs may be used from any goroutine. One with Reload looks at its files again at handshakes, at
// most every few seconds, and goes on with the old ones when the new are no good; there is no goroutine that
// watches. Source: operations, section 1.8 (TLS); client protocol, section 10.4.
package certs
