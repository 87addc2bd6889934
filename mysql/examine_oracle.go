package mysql

import "context"

// oracleOrigins reads what MySQL knows of its variables' values.
func (e *examiner) oracleOrigins(ctx context.Context, names string) error {
	res, ok, err := e.ask(ctx, "origins of variables", "SELECT ON performance_schema.variables_info",
		"SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS value FROM performance_schema.variables_info WHERE VARIABLE_NAME IN ("+names+")")
	if err != nil {
		return err
	}
	if ok {
		e.found.Origins = named(res)
	}
	res, ok, err = e.ask(ctx, "persisted variables", "SELECT ON performance_schema.persisted_variables",
		"SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.persisted_variables WHERE VARIABLE_NAME IN ("+names+")")
	if ok {
		e.found.Persisted = named(res)
	}
	return err
}
