def handler(event, context):
    return {
        "statusCode": 200,
        "headers": {"Access-Control-Allow-Origin": "*"},
        "body": "hello, " + event["requestContext"]["authorizer"]["principalId"],
    }
