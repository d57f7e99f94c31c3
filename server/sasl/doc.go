// Package sasl knows SASL's DIGEST-MD5 as ZooKeeper's servers, clients and peers speak it, and the JAAS files that
// name users and their passwords.
//
// It does no I/O but ReadFile: callers carry the tokens. A Server or Client belongs to one connection and one goroutine; Users never change
// and any goroutine may read them. Kerberos (GSSAPI) is not here, and a JAAS section that asks for it is
// refused. Users: package server for clients, server/client to log in, the transport between servers.
//
// Source: client protocol, section 10.1; quorum protocol, section 9.2; RFC 2831 (quality of protection "auth" alone).
package sasl
