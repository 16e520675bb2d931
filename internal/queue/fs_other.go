//go:build !unix

package queue

func isReadOnly(error) bool { return false }
