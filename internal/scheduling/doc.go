// Package scheduling chooses one endpoint of a pool for each call.
package scheduling
