-- Tables of the stats database.
-- Column names, defaults and checks are ProxySQL 2.7's: clients depend on them.

CREATE TABLE stats_mysql_connection_pool (
	hostgroup INT,
	srv_host VARCHAR,
	srv_port INT,
	status VARCHAR,
	ConnUsed INT,
	ConnFree INT,
	ConnOK INT,
	ConnERR INT,
	MaxConnUsed INT,
	Queries INT,
	Queries_GTID_sync INT,
	Bytes_data_sent INT,
	Bytes_data_recv INT,
	Latency_us INT
);

CREATE TABLE stats_mysql_connection_pool_reset (
	hostgroup INT,
	srv_host VARCHAR,
	srv_port INT,
	status VARCHAR,
	ConnUsed INT,
	ConnFree INT,
	ConnOK INT,
	ConnERR INT,
	MaxConnUsed INT,
	Queries INT,
	Queries_GTID_sync INT,
	Bytes_data_sent INT,
	Bytes_data_recv INT,
	Latency_us INT
);

CREATE TABLE stats_mysql_global (
	Variable_Name VARCHAR NOT NULL PRIMARY KEY,
	Variable_Value VARCHAR NOT NULL
);

CREATE TABLE stats_mysql_processlist (
	ThreadID INT NOT NULL,
	SessionID INTEGER PRIMARY KEY,
	user VARCHAR,
	db VARCHAR,
	cli_host VARCHAR,
	cli_port INT,
	hostgroup INT,
	l_srv_host VARCHAR,
	l_srv_port INT,
	srv_host VARCHAR,
	srv_port INT,
	command VARCHAR,
	time_ms INT NOT NULL,
	info VARCHAR,
	status_flags INT,
	extended_info VARCHAR
);

CREATE TABLE stats_mysql_errors (
	hostgroup INT NOT NULL,
	hostname VARCHAR NOT NULL,
	port INT NOT NULL,
	username VARCHAR NOT NULL,
	client_address VARCHAR NOT NULL,
	schemaname VARCHAR NOT NULL,
	errno INT NOT NULL,
	count_star INTEGER NOT NULL,
	first_seen INTEGER NOT NULL,
	last_seen INTEGER NOT NULL,
	last_error VARCHAR NOT NULL DEFAULT '',
	PRIMARY KEY (hostgroup, hostname, port, username, schemaname, errno)
);

CREATE TABLE stats_mysql_errors_reset (
	hostgroup INT NOT NULL,
	hostname VARCHAR NOT NULL,
	port INT NOT NULL,
	username VARCHAR NOT NULL,
	client_address VARCHAR NOT NULL,
	schemaname VARCHAR NOT NULL,
	errno INT NOT NULL,
	count_star INTEGER NOT NULL,
	first_seen INTEGER NOT NULL,
	last_seen INTEGER NOT NULL,
	last_error VARCHAR NOT NULL DEFAULT '',
	PRIMARY KEY (hostgroup, hostname, port, username, schemaname, errno)
);

CREATE TABLE stats_mysql_users (
	username VARCHAR PRIMARY KEY,
	frontend_connections INT NOT NULL,
	frontend_max_connections INT NOT NULL
);

CREATE TABLE stats_mysql_free_connections (
	fd INT NOT NULL,
	hostgroup INT NOT NULL,
	srv_host VARCHAR NOT NULL,
	srv_port INT NOT NULL,
	user VARCHAR NOT NULL,
	schema VARCHAR,
	init_connect VARCHAR,
	time_zone VARCHAR,
	sql_mode VARCHAR,
	autocommit VARCHAR,
	idle_ms INT,
	statistics VARCHAR,
	mysql_info VARCHAR
);

CREATE TABLE stats_mysql_query_rules (
	rule_id INTEGER PRIMARY KEY,
	hits INT NOT NULL
);

CREATE TABLE stats_mysql_commands_counters (
	Command VARCHAR NOT NULL PRIMARY KEY,
	Total_Time_us INT NOT NULL,
	Total_cnt INT NOT NULL,
	cnt_100us INT NOT NULL,
	cnt_500us INT NOT NULL,
	cnt_1ms INT NOT NULL,
	cnt_5ms INT NOT NULL,
	cnt_10ms INT NOT NULL,
	cnt_50ms INT NOT NULL,
	cnt_100ms INT NOT NULL,
	cnt_500ms INT NOT NULL,
	cnt_1s INT NOT NULL,
	cnt_5s INT NOT NULL,
	cnt_10s INT NOT NULL,
	cnt_INFs
);

CREATE TABLE stats_proxysql_servers_checksums (
	hostname VARCHAR NOT NULL,
	port INT NOT NULL DEFAULT 6032,
	name VARCHAR NOT NULL,
	version INT NOT NULL,
	epoch INT NOT NULL,
	checksum VARCHAR NOT NULL,
	changed_at INT NOT NULL,
	updated_at INT NOT NULL,
	diff_check INT NOT NULL,
	PRIMARY KEY (hostname, port, name)
);

CREATE TABLE stats_proxysql_servers_metrics (
	hostname VARCHAR NOT NULL,
	port INT NOT NULL DEFAULT 6032,
	weight INT CHECK (weight >= 0) NOT NULL DEFAULT 0,
	comment VARCHAR NOT NULL DEFAULT '',
	response_time_ms INT NOT NULL,
	Uptime_s INT NOT NULL,
	last_check_ms INT NOT NULL,
	Queries INT NOT NULL,
	Client_Connections_connected INT NOT NULL,
	Client_Connections_created INT NOT NULL,
	PRIMARY KEY (hostname, port)
);

CREATE TABLE stats_proxysql_servers_status (
	hostname VARCHAR NOT NULL,
	port INT NOT NULL DEFAULT 6032,
	weight INT CHECK (weight >= 0) NOT NULL DEFAULT 0,
	master VARCHAR NOT NULL,
	global_version INT NOT NULL,
	check_age_us INT NOT NULL,
	ping_time_us INT NOT NULL,
	checks_OK INT NOT NULL,
	checks_ERR INT NOT NULL,
	PRIMARY KEY (hostname, port)
);
