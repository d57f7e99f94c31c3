package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"

	"zabra.dev/zabra/server/config"
)

// ErrStore reports a key or trust store that cannot be used.
var ErrStore = errors.New("certs: bad store")

func storeError(s config.Store, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrStore, s.Location, fmt.Errorf(format, args...))
}

// storeBytesMax keeps a file that is none from being taken for a store with a length field.
const storeBytesMax = 8 << 20

// contents reads a store and its password.
func contents(s config.Store) (b []byte, password string, err error) {
	if strings.EqualFold(s.Type, "BCFKS") {
		return nil, "", storeError(s, "BCFKS is a format of a Java library; convert it to PKCS12")
	}
	if b, err = os.ReadFile(s.Location); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrStore, err)
	}
	if len(b) > storeBytesMax {
		return nil, "", storeError(s, "it has %d bytes, more than any store", len(b))
	}
	password = s.Password
	if s.PasswordPath != "" {
		text, err := os.ReadFile(s.PasswordPath)
		if err != nil {
			return nil, "", fmt.Errorf("%w: password: %w", ErrStore, err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return b, password, nil
}

// format is what a store is, by its first bytes.
type format int

const (
	formatUnknown format = iota
	formatPEM
	formatPKCS12
	formatJKS
)

var jksMagic = []byte{0xfe, 0xed, 0xfe, 0xed}

func formatOf(b []byte) format {
	switch {
	case bytes.HasPrefix(b, jksMagic):
		return formatJKS
	case bytes.Contains(b, []byte("-----BEGIN ")):
		return formatPEM
	case len(b) > 1 && b[0] == 0x30 && b[1] >= 0x80: // a DER sequence of some length
		return formatPKCS12
	}
	return formatUnknown
}

// LoadKeys reads the private keys of a store with their chains, the key's own certificate first. Errors match
// ErrStore.
func LoadKeys(s config.Store) ([]tls.Certificate, error) {
	b, password, err := contents(s)
	if err != nil {
		return nil, err
	}
	var keys []tls.Certificate
	switch formatOf(b) {
	case formatPEM:
		keys, err = keysOfPEM(b, password)
	case formatPKCS12:
		keys, err = keysOfPKCS12(b, password)
	case formatJKS:
		keys, err = keysOfJKS(b, password)
	default:
		err = errors.New("it is neither PEM nor PKCS12 nor JKS")
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("it holds no private key")
	}
	if err != nil {
		return nil, storeError(s, "%w", err)
	}
	for i := range keys {
		if err := complete(&keys[i]); err != nil {
			return nil, storeError(s, "%w", err)
		}
	}
	return keys, nil
}

// complete checks that key and certificate belong together.
func complete(c *tls.Certificate) error {
	if len(c.Certificate) == 0 {
		return errors.New("a private key has no certificate")
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return err
	}
	c.Leaf = leaf
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("a private key of type %T cannot sign", c.PrivateKey)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(signer.Public()) {
		return errors.New("private key and certificate do not belong together")
	}
	return nil
}

// LoadTrust reads the certificates of a store, and returns how many there are, too. Errors match ErrStore.
func LoadTrust(s config.Store) (*x509.CertPool, int, error) {
	b, password, err := contents(s)
	if err != nil {
		return nil, 0, err
	}
	var certs []*x509.Certificate
	switch formatOf(b) {
	case formatPEM:
		certs, err = certificatesOfPEM(b)
	case formatPKCS12:
		// Java, too, wants them marked as trusted, as keytool -importcert does.
		certs, err = pkcs12.DecodeTrustStore(b, password)
	case formatJKS:
		certs, err = certificatesOfJKS(b, password)
	default:
		err = errors.New("it is neither PEM nor PKCS12 nor JKS")
	}
	if err == nil && len(certs) == 0 {
		err = errors.New("it holds no certificate")
	}
	if err != nil {
		return nil, 0, storeError(s, "%w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, len(certs), nil
}

// keysOfPEM takes one private key, encrypted or not, and the certificates in their order.
func keysOfPEM(b []byte, password string) ([]tls.Certificate, error) {
	var c tls.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "CERTIFICATE":
			c.Certificate = append(c.Certificate, block.Bytes)
			continue
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // parameters, comments
		}
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		if c.PrivateKey != nil {
			return nil, errors.New("it holds more than one private key")
		}
		c.PrivateKey = key
	}
	if c.PrivateKey == nil {
		return nil, nil
	}
	return []tls.Certificate{c}, nil
}

func certificatesOfPEM(b []byte) (certs []*x509.Certificate, err error) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func keysOfPKCS12(b []byte, password string) ([]tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(b, password)
	if err != nil {
		return nil, err
	}
	c := tls.Certificate{PrivateKey: key, Certificate: [][]byte{leaf.Raw}}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return []tls.Certificate{c}, nil
}

func openJKS(b []byte, password string) (keystore.KeyStore, error) {
	ks := keystore.New(keystore.WithOrderedAliases())
	return ks, ks.Load(bytes.NewReader(b), []byte(password))
}

// keysOfJKS expects the keys under the store's own password, as Java servers do.
func keysOfJKS(b []byte, password string) (keys []tls.Certificate, err error) {
	ks, err := openJKS(b, password)
	if err != nil {
		return nil, err
	}
	for _, alias := range ks.Aliases() {
		if !ks.IsPrivateKeyEntry(alias) {
			continue
		}
		e, err := ks.GetPrivateKeyEntry(alias, []byte(password))
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", alias, err)
		}
		key, err := x509.ParsePKCS8PrivateKey(e.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", alias, err)
		}
		c := tls.Certificate{PrivateKey: key}
		for _, x := range e.CertificateChain {
			c.Certificate = append(c.Certificate, x.Content)
		}
		keys = append(keys, c)
	}
	return keys, nil
}

func certificatesOfJKS(b []byte, password string) (certs []*x509.Certificate, err error) {
	ks, err := openJKS(b, password)
	if err != nil {
		return nil, err
	}
	for _, alias := range ks.Aliases() {
		if !ks.IsTrustedCertificateEntry(alias) {
			continue
		}
		e, err := ks.GetTrustedCertificateEntry(alias)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", alias, err)
		}
		c, err := x509.ParseCertificate(e.Certificate.Content)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", alias, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}
