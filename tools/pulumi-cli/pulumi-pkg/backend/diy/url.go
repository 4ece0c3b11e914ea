// Package diy tells state backends that people run themselves from Pulumi Cloud.
package diy

import "net/url"

// IsDIYBackendURL reports whether a backend is a bucket, a folder or a database: any scheme but HTTP's.
func IsDIYBackendURL(backend string) bool {
	parsed, err := url.Parse(backend)
	if err != nil {
		return false
	}
	switch parsed.Scheme {
	case "", "http", "https":
		return false
	default:
		return true
	}
}
