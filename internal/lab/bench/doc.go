// Package bench measures what clients see of Remora: for how long they cannot write when a primary fails or is changed, and
// of what that time is made up. Its clients know nothing of Remora, only where the proxies are.
//
// A measurement is a row of the registry, see [Measurements]: a name, how often it is played, and a function that notes
// figures. Everything it starts it starts in a lab of its own. What has been measured until an interruption or a failure is
// reported all the same.
package bench
