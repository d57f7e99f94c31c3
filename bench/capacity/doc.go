// Package capacity is what zabra bench plan knows: the results of a plan and what follows from them. It searches the highest
// load that keeps an objective (Search), says what stopped it (Limit), fits what a request costs each server (Fit), and answers
// how many servers of what size a need takes (Answer). The package measures nothing and does no I/O; package bench does, and
// package report draws.
//
// # The cost model
//
// The processor time of one server in one step is a sum of terms, each a count times a cost that is the same in all
// steps and never negative:
//
//	idle seconds, reads answered, KiB of replies, writes applied, KiB of writes applied, further operations of multis,
//	syncs of the log, flushes to sockets, sessions opened, events sent,
//	on a leader: proposals sent to its peers, and their KiB; on a learner: writes forwarded for its own clients
//
// All servers of all steps are rows of one regression, weighted by relative error; so a standalone server, a leader, a
// follower and an observer share what they have in common. What a model is worth is measured by leaving out one series of steps
// (a mix, a point of a sweep) at a time and predicting it from the rest.
package capacity
