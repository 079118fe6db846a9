// Package measure is what the comparisons share: servers in processes of their
// own, the CPU and memory that the kernel says they took, and ratios of medians.
package measure
